"""The same bytes, however they are sliced and through whatever wrapper, make the same object."""

import io
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3writer import MultipartUploadWriter
from s3writer._upload.plan import MAX_PARTS
from tests.helpers import MIB, content, data, uploads, writer
from tests.stores import BUCKET
from tests.wire import Wire

PART = 5 * MIB

#: Where a slice ends: anywhere, but above all near the boundaries of parts.
CUTS = st.lists(
    st.one_of(
        st.integers(0, 17 * MIB),
        st.builds(lambda part, off: max(0, part * PART + off), st.integers(0, 3), st.integers(-3, 3)),
    ),
    max_size=12,
)


def slices(payload: bytes, cuts: list[int]) -> Iterator[memoryview]:
    start = 0
    for end in [*sorted(min(cut, len(payload)) for cut in cuts), len(payload)]:
        yield memoryview(payload)[start:end]
        start = end


def plain(stream: MultipartUploadWriter, pieces: Iterator[memoryview]) -> None:
    with stream:
        for number, piece in enumerate(pieces):
            kind: Callable[[memoryview], Any] = (bytes, bytearray, memoryview)[number % 3]
            assert stream.write(kind(piece)) == len(piece)


def buffered(stream: MultipartUploadWriter, pieces: Iterator[memoryview]) -> None:
    with io.BufferedWriter(stream) as wrapper:
        for piece in pieces:
            wrapper.write(piece)


def text(stream: MultipartUploadWriter | io.BufferedWriter, pieces: Iterator[memoryview]) -> None:
    with io.TextIOWrapper(stream, encoding="latin-1", newline="") as wrapper:
        for piece in pieces:
            wrapper.write(bytes(piece).decode("latin-1"))


def text_over_buffered(stream: MultipartUploadWriter, pieces: Iterator[memoryview]) -> None:
    text(io.BufferedWriter(stream), pieces)


def as_str(stream: MultipartUploadWriter, pieces: Iterator[memoryview]) -> None:
    with stream:
        for piece in pieces:
            stream.write(bytes(piece).decode("latin-1"))


WAYS = {"plain": plain, "buffered": buffered, "text": text, "text over buffered": text_over_buffered, "str": as_str}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12)
@given(size=st.one_of(st.integers(0, 2 * PART + 9), st.integers(0, 20)), cuts=CUTS)
@example(size=PART, cuts=[PART - 1])
@example(size=2 * PART, cuts=[PART, PART])
@example(size=2 * PART + 1, cuts=[])
def test_any_slicing_makes_the_same_object(client: Any, way: str, size: int, cuts: list[int]) -> None:
    key = uuid4().hex
    payload = data(size)
    wire = Wire(client)
    stream = writer(client, key, encoding="latin-1")
    WAYS[way](stream, slices(payload, cuts))
    sizes = {
        int(request.url.partition("partNumber=")[2].partition("&")[0]): int(request.headers["Content-Length"])
        for name, request in zip(wire.sent, wire.requests, strict=True)
        if name == "UploadPart"
    }
    planned = [PART] * (size // PART) + [size % PART] * bool(size % PART)
    assert [sizes[number] for number in sorted(sizes)] == (planned if size > PART else [])
    assert content(client, key) == payload
    assert stream.result.size == size


@settings(max_examples=5)
@given(cuts=CUTS, max_concurrency=st.integers(1, 3), memory_parts=st.integers(1, 4))
def test_parts_that_grow_have_the_planned_sizes(
    client: Any, cuts: list[int], max_concurrency: int, memory_parts: int
) -> None:
    key = uuid4().hex
    payload = data(48 * MIB)
    stream = writer(client, key, max_concurrency=max_concurrency, max_memory=memory_parts * 10 * MIB)
    plan = stream._upload.pipeline._pace.plan
    with stream:
        for piece in slices(payload, cuts):
            stream.write(piece)
    ends = list(accumulate(plan.size(number) for number in range(1, MAX_PARTS + 1) if number < 40))
    parts = 1 + sum(end < len(payload) for end in ends)
    assert stream.result.parts == parts
    head = client.head_object(Bucket=BUCKET, Key=key, PartNumber=1)
    assert head["ContentLength"] in (len(payload), plan.size(1))
    assert content(client, key) == payload
    assert uploads(client, key) == []
