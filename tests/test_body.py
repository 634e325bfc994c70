"""A part on its way to the socket: in slices that fit the speed of the line, and no byte is missing or sent twice."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3writer._s3.body import Body
from tests.helpers import MIB, Boom, data

WHOLE = data(16 * MIB + 1)
BLOCK = 16 * 1024


def slices(seconds: list[float]) -> list[int]:
    """The sizes of a part's slices of which each takes so many ``seconds`` to be sent; the last one goes on for all."""
    times = itertools.accumulate(itertools.chain(seconds, itertools.repeat(seconds[-1])), initial=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.monotonic", lambda: next(times))
        body = Body([memoryview(WHOLE)], lambda: None)
        read = [bytes(piece) for piece in iter(lambda: body.read(BLOCK), b"")]
    assert b"".join(read) == WHOLE
    return [len(piece) for piece in read]


def test_slices_double_on_a_fast_line() -> None:
    sizes = slices([0.01])
    assert sizes[:2] == [MIB // 2, MIB]
    assert set(sizes[2:-1]) == {MIB}


def test_slices_shrink_on_a_slow_line_down_to_what_is_asked_for() -> None:
    sizes = slices([10.0])
    assert sizes[0] <= 128 * 1024
    assert sizes[10] == BLOCK


def test_slices_grow_again_when_the_line_recovers() -> None:
    assert max(slices([10.0] * 10 + [0.01])) == MIB


@given(st.lists(st.integers(0, len(WHOLE)), max_size=5), st.integers(100_000, 3 * MIB), st.booleans())
def test_pieces_are_read_as_the_whole(cuts: list[int], size: int, into: bool) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    body = Body([memoryview(WHOLE)[start:end] for start, end in itertools.pairwise(places)], lambda: None)
    target = bytearray(size)
    for start in (0, sum(cuts) % len(WHOLE)):
        assert body.seek(start) == body.tell() == start
        if into:
            read = iter(lambda: bytes(target[: body.readinto(memoryview(target))]), b"")
        else:
            read = iter(lambda: bytes(body.read(size)), b"")
        assert b"".join(read) == WHOLE[start:]
        assert body.tell() == len(body) == len(WHOLE)
    body.seek(0)
    assert body.read() == WHOLE


@given(st.lists(st.integers(0, len(WHOLE)), max_size=9), st.integers(1, 2 * MIB))
def test_no_read_gives_less_than_it_was_asked_for_before_the_end(cuts: list[int], size: int) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    body = Body([memoryview(WHOLE)[start:end] for start, end in itertools.pairwise(places)], lambda: None)
    sizes = [len(piece) for piece in iter(lambda: body.read(size), b"")]
    assert min(sizes[:-1]) >= size
    assert sum(sizes) == len(WHOLE)


def test_slices_shrink_on_a_slow_line_also_where_pieces_are_short() -> None:
    pieces = [memoryview(WHOLE)[:100], memoryview(WHOLE)[:MIB]] * 8
    now = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.monotonic", lambda: now)
        body = Body(pieces, lambda: None)
        sizes = []
        while piece := body.read(BLOCK):
            sizes.append(len(piece))
            now += len(piece) / 100_000
    assert max(sizes[20:]) <= 32 * 1024


@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 30.0]), min_size=1))
def test_no_byte_is_missing_or_sent_twice_whatever_the_speed(seconds: list[float]) -> None:
    slices(seconds)


def test_places_are_counted_from_the_beginning_from_where_it_is_and_from_the_end() -> None:
    body = Body([memoryview(b"0123"), memoryview(b"456789")], lambda: None)
    assert (body.seek(5), body.seek(2, 1), body.read(1)) == (5, 7, b"789")
    assert (body.seek(-1, 2), body.read(1), body.read(1)) == (9, b"9", b"")


def test_a_retry_begins_with_small_slices() -> None:
    body = Body([memoryview(WHOLE)], lambda: None)
    first = len(body.read(BLOCK))
    while body.read(BLOCK):
        pass
    body.seek(0)
    assert len(body.read(BLOCK)) == first


def test_once_the_last_byte_is_out_nothing_stops_the_sending() -> None:
    def check() -> None:
        if stops:
            raise Boom

    stops: list[bool] = []
    body = Body([memoryview(b"all of it")], check)
    assert bytes(body.read(100)) == b"all of it"
    stops.append(True)
    assert bytes(body.read(100)) == b""
    body.seek(0)
    with pytest.raises(Boom):
        body.read(100)
