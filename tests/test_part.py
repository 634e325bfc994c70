"""A part's bytes: copied or kept, they come out in order, and take no more memory than they are long."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3writer import AccessDeniedError
from s3writer._upload.part import Part
from tests.helpers import MIB, content, data, writer
from tests.stores import BUCKET
from tests.wire import Wire, refuse

KEPT = 512 * 1024
SOURCE = data(2 * MIB)
WRITES = st.lists(st.tuples(st.integers(0, MIB), st.integers(0, KEPT + 9)), max_size=8)


def fill(buffer: Part, writes: list[tuple[int, int]]) -> bytes:
    """Write slices of the source, without a copy where the buffer does so; all of them."""
    written = [SOURCE[start : start + size] for start, size in writes]
    for piece in written:
        if not buffer.keep(memoryview(piece)):
            buffer.put(piece)
    return b"".join(written)


def shown(buffer: Part, start: int = 0) -> bytes:
    with buffer.pieces(start) as pieces:
        return b"".join(pieces)


@given(WRITES, WRITES, st.data())
def test_what_was_written_comes_out_in_order_from_any_place(
    first: list[tuple[int, int]], second: list[tuple[int, int]], draw: st.DataObject
) -> None:
    buffer = Part()
    for writes in (first, second):
        expected = fill(buffer, writes)
        assert buffer.size == len(expected)
        start = draw.draw(st.integers(0, len(expected)))
        assert shown(buffer, start) == expected[start:]
        buffer.reuse()
        assert (buffer.size, shown(buffer)) == (0, b"")


@pytest.mark.parametrize("size", [KEPT, 2 * MIB])
def test_large_bytes_are_not_copied(size: int) -> None:
    buffer, large = Part(), data(size)
    buffer.put(b"head")
    assert buffer.keep(memoryview(large))
    buffer.put(b"tail")
    with buffer.pieces() as pieces:
        assert [piece.tobytes() for piece in pieces] == [b"head", large, b"tail"]
        assert pieces[1].obj is large


@pytest.mark.parametrize(
    "view",
    [
        memoryview(data(KEPT - 1)),
        memoryview(data(2 * MIB + 1)),
        memoryview(bytearray(KEPT)),
        memoryview(data(KEPT + 1))[1:],
        memoryview(memoryview(bytearray(KEPT)).toreadonly()),
    ],
    ids=["short", "long", "mutable", "not the whole", "a look at what is mutable"],
)
def test_nothing_else_is_kept(view: memoryview) -> None:
    buffer = Part()
    assert not buffer.keep(view)
    assert (buffer.size, shown(buffer)) == (0, b"")


@given(st.lists(WRITES, min_size=1, max_size=4))
def test_memory_of_earlier_parts_does_not_lie_idle_beside_what_is_kept(parts: list[list[tuple[int, int]]]) -> None:
    buffer = Part()
    for writes in parts:
        buffer.reuse()
        fill(buffer, writes)
        kept = buffer.size - buffer.copied
        if kept:
            assert kept + sys.getsizeof(buffer._memory) <= buffer.size * 9 // 8 + 4096


@given(st.lists(WRITES, min_size=1, max_size=4))
def test_a_part_has_no_more_memory_than_was_once_copied_into_it(parts: list[list[tuple[int, int]]]) -> None:
    buffer = Part()
    for writes in parts:
        fill(buffer, writes)
        buffer.reuse()
        assert sys.getsizeof(buffer._memory) <= buffer.most_copied * 9 // 8 + 4096


def test_what_was_cleared_holds_nothing_even_if_somebody_looks_at_it() -> None:
    buffer = Part()
    fill(buffer, [(0, KEPT), (0, 9), (9, KEPT - 1)])
    with buffer.pieces() as pieces:
        buffer.clear()
        assert (buffer.size, sys.getsizeof(buffer._memory) < 4096) == (0, True)
        assert len(pieces) == 2


def test_a_part_that_can_not_be_sent_is_not_held_by_its_error(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", refuse(403, "AccessDenied"))
    parts: list[Part] = []
    with pytest.raises(AccessDeniedError) as caught, writer(client, key, max_concurrency=1) as stream:
        for _ in range(20):
            stream.write(data(MIB))
            parts.append(stream._intake._part)
    assert caught.value.bucket == BUCKET
    assert [part.size for part in parts[:4]] == [0, 0, 0, 0]


def test_everything_is_released_in_the_end() -> None:
    buffer = Part()
    fill(buffer, [(0, 9), (9, KEPT), (0, 9)])
    with buffer.pieces() as pieces:
        first, second, third = pieces
        with pytest.raises(BufferError):
            buffer.reuse()
    for piece in (first, second, third):
        with pytest.raises(ValueError, match="released"):
            len(piece)
    buffer.reuse()


@given(WRITES, st.integers(0, 8 * MIB))
def test_room_is_made_without_a_change_to_what_is_there(writes: list[tuple[int, int]], size: int) -> None:
    buffer = Part()
    expected = fill(buffer, writes)
    buffer.reserve(size)
    assert buffer._memory.touched >= buffer.copied + size
    buffer.put(b"more")
    assert (buffer.size, shown(buffer)) == (len(expected) + 4, expected + b"more")


def test_where_there_is_no_memory_for_a_whole_part_a_buffer_grows_as_it_fills() -> None:
    buffer = Part()
    buffer.put(b"before")
    buffer.reserve(2**60)
    buffer.put(b"after")
    assert shown(buffer) == b"beforeafter"


def test_room_is_made_only_for_what_may_still_be_copied(client: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve, sizes, payload = Part.reserve, [], data(700 * 1024)

    def note_and_reserve(buffer: Part, size: int) -> None:
        sizes.append(buffer.size + size)
        reserve(buffer, size)

    monkeypatch.setattr(Part, "reserve", note_and_reserve)
    with writer(client, key) as stream:
        for _ in range(40):
            stream.write(payload)
    assert set(sizes) == {5 * MIB}
    assert content(client, key) == payload * 40


def test_a_part_does_not_move_while_it_fills(client: Any, key: str) -> None:
    with writer(client, key, max_memory=20 * MIB) as stream:
        for _ in range(12 * MIB // 1000):
            stream.write(SOURCE[:1000])
            if stream._intake._part.copied > MIB:
                assert stream._intake._part._memory.touched == 5 * MIB
    assert content(client, key) == SOURCE[:1000] * (12 * MIB // 1000)


@pytest.mark.parametrize(
    ("size", "left"),
    [(KEPT, (4 + KEPT, 4)), (3 * MIB, (4 + 3 * MIB, 4)), (5 * MIB - 4, (5 * MIB, 4)), (5 * MIB - 3, (1, 1))],
    ids=["shortest", "long", "fills the part", "too long for the part"],
)
def test_the_first_large_bytes_of_a_stream_are_kept_if_the_part_has_room_for_them(
    client: Any, key: str, size: int, left: tuple[int, int]
) -> None:
    large = data(size)
    with writer(client, key) as stream:
        stream.write(b"head")
        stream.write(large)
        part = stream._intake._part
        assert (part.size, part.copied) == left
    assert content(client, key) == b"head" + large


def test_small_writes_before_them_do_not_keep_the_first_large_bytes_from_being_kept(client: Any, key: str) -> None:
    large, small = data(3 * MIB), bytes(1000)
    with writer(client, key) as stream:
        for _ in range(300):
            stream.write(small)
        stream.write(large)
        assert stream._intake._part.copied == 300_000
    assert content(client, key) == 300 * small + large


@pytest.mark.parametrize(("size", "copied"), [(3 * MIB, 3 * MIB), (2 * MIB + 1, 2 * MIB + 1), (2 * MIB, 0)])
def test_of_the_later_bytes_the_very_long_are_copied(client: Any, key: str, size: int, copied: int) -> None:
    pieces = [data(size, seed=number) for number in range(2)]
    with writer(client, key, part_size=8 * MIB) as stream:
        for piece in pieces:
            stream.write(piece)
        part = stream._intake._part
        assert (part.size, part.copied) == (2 * size, copied)
    assert content(client, key) == b"".join(pieces)


def test_bytes_are_copied_into_memory_that_was_used_before() -> None:
    part = Part()
    part.put(data(900 * 1024))
    part._memory.seek(600 * 1024)
    with memoryview(data(600 * 1024)) as view:
        assert not part.keep(view)
