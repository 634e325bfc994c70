"""A part's bytes: copied or kept, they come out in order, and take no more memory than they are long."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3writer._upload.part import PartBuffer
from tests.helpers import MIB, content, data, writer

KEPT = 512 * 1024
SOURCE = data(2 * MIB)
WRITES = st.lists(st.tuples(st.integers(0, MIB), st.integers(0, KEPT + 9)), max_size=8)


def fill(buffer: PartBuffer, writes: list[tuple[int, int]]) -> bytes:
    """Write slices of the source, without a copy where the buffer does so; all of them."""
    written = [SOURCE[start : start + size] for start, size in writes]
    for piece in written:
        if not buffer.keep(memoryview(piece)):
            buffer.write(piece)
    return b"".join(written)


def shown(buffer: PartBuffer, start: int = 0) -> bytes:
    with buffer.pieces(start) as pieces:
        return b"".join(pieces)


@given(WRITES, WRITES, st.data())
def test_what_was_written_comes_out_in_order_from_any_place(
    first: list[tuple[int, int]], second: list[tuple[int, int]], draw: st.DataObject
) -> None:
    buffer = PartBuffer()
    for writes in (first, second):
        expected = fill(buffer, writes)
        assert buffer.size == len(expected)
        start = draw.draw(st.integers(0, len(expected)))
        assert shown(buffer, start) == expected[start:]
        buffer.reuse()
        assert (buffer.size, shown(buffer)) == (0, b"")


@pytest.mark.parametrize("size", [KEPT, 2 * MIB])
def test_large_bytes_are_not_copied(size: int) -> None:
    buffer, large = PartBuffer(), data(size)
    buffer.write(b"head")
    assert buffer.keep(memoryview(large))
    buffer.write(b"tail")
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
    buffer = PartBuffer()
    assert not buffer.keep(view)
    assert (buffer.size, shown(buffer)) == (0, b"")


@given(st.lists(WRITES, min_size=1, max_size=4))
def test_memory_of_earlier_parts_does_not_lie_idle_beside_what_is_kept(parts: list[list[tuple[int, int]]]) -> None:
    buffer = PartBuffer()
    for writes in parts:
        buffer.reuse()
        fill(buffer, writes)
        kept = buffer.size - buffer.tell()
        if kept:
            assert kept + sys.getsizeof(buffer) <= buffer.size * 9 // 8 + 4096


def test_what_can_not_be_sent_is_not_held_any_longer() -> None:
    buffer = PartBuffer()
    fill(buffer, [(0, KEPT), (0, 9), (9, KEPT - 1)])
    with pytest.raises(OSError, match="no line"), buffer.sending():
        raise OSError("no line")
    assert (buffer.size, sys.getsizeof(buffer) < 4096) == (0, True)


def test_everything_is_released_in_the_end() -> None:
    buffer = PartBuffer()
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
    buffer = PartBuffer()
    write = buffer.write
    expected = fill(buffer, writes)
    buffer.make_room(size)
    with buffer.getbuffer() as room:
        assert len(room) >= buffer.tell() + size
    write(b"more")
    assert (buffer.size, shown(buffer)) == (len(expected) + 4, expected + b"more")


def test_where_there_is_no_memory_for_a_whole_part_a_buffer_grows_as_it_fills() -> None:
    buffer = PartBuffer()
    buffer.write(b"before")
    buffer.make_room(2**60)
    buffer.write(b"after")
    assert shown(buffer) == b"beforeafter"


def test_room_is_made_only_for_what_may_still_be_copied(client: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_room, sizes, payload = PartBuffer.make_room, [], data(700 * 1024)

    def note_and_make_room(buffer: PartBuffer, size: int) -> None:
        sizes.append(buffer.size + size)
        make_room(buffer, size)

    monkeypatch.setattr(PartBuffer, "make_room", note_and_make_room)
    with writer(client, key) as stream:
        for _ in range(40):
            stream.write(payload)
    assert set(sizes) == {5 * MIB}
    assert content(client, key) == payload * 40


def test_a_part_does_not_move_while_it_fills(client: Any, key: str) -> None:
    with writer(client, key, max_memory=20 * MIB) as stream:
        for _ in range(12 * MIB // 1000):
            stream.write(SOURCE[:1000])
            if stream._buffer.tell() > MIB:
                assert len(stream._buffer.getbuffer()) == 5 * MIB
    assert content(client, key) == SOURCE[:1000] * (12 * MIB // 1000)
