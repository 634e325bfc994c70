"""A coroutine writes to a store that refuses calls, loses answers or is slow."""

import asyncio
import contextlib
import itertools
import time
from typing import Any

import pytest

from s3writer import AccessDeniedError, OutcomeUnknownError
from tests.helpers import MIB, Boom, content, data, uploads
from tests.stores import BUCKET
from tests.test_aio import opened, run
from tests.wire import Wire, delay, refuse

SMALL, LARGE = data(1000), data(12 * MIB)
BOTH = pytest.mark.parametrize(
    ("payload", "commit"), [(SMALL, "PutObject"), (LARGE, "CompleteMultipartUpload")], ids=["put", "complete"]
)


@pytest.fixture(params=["close", "commit"])
def ending(request: pytest.FixtureRequest) -> str:
    """What publishes: the end of the block, or a call in the block."""
    return str(request.param)


async def write(client: Any, key: str, payload: bytes, ending: str) -> Any:
    """Write ``payload`` in pieces of 64 KiB to 1 MiB, and publish it."""
    async with opened(client, key) as stream:
        await write_all(stream, payload)
        if ending == "commit":
            await stream.commit()
    return stream.result


async def write_all(stream: Any, payload: bytes) -> None:
    sizes, start = itertools.cycle([MIB // 16, MIB // 4, MIB]), 0
    while start < len(payload):
        start += await stream.write(payload[start : start + next(sizes)])


@pytest.mark.parametrize(
    ("payload", "call"),
    [
        (LARGE, "CreateMultipartUpload"),
        (LARGE, "UploadPart"),
        (LARGE, "CompleteMultipartUpload"),
        (SMALL, "PutObject"),
    ],
    ids=["create", "part", "complete", "put"],
)
def test_a_call_that_is_refused_leaves_the_key_as_it_was(
    client: Any, key: str, payload: bytes, call: str, ending: str
) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=b"before")
    wire = Wire(client)
    wire.on(call, refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError):
        run(write(client, key, payload, ending))
    assert call in wire.sent
    assert content(client, key) == b"before"
    assert uploads(client, key) == []


@BOTH
def test_a_commit_whose_answer_is_lost_is_a_success(
    client: Any, key: str, payload: bytes, commit: str, ending: str
) -> None:
    wire = Wire(client)
    wire.on(commit, wire.lose_answer)
    result = run(write(client, key, payload, ending))
    assert content(client, key) == payload
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (result.size, result.etag) == (len(payload), head["ETag"])


@BOTH
def test_a_commit_that_can_not_be_looked_up_is_unknown(
    client: Any, key: str, payload: bytes, commit: str, ending: str
) -> None:
    wire = Wire(client)
    wire.on(commit, wire.lose_answer)
    wire.on("HeadObject", refuse(403, "403"))
    with pytest.raises(OutcomeUnknownError) as caught:
        run(write(client, key, payload, ending))
    assert caught.value.size == len(payload)
    assert content(client, key) == payload
    assert uploads(client, key) == []


@pytest.fixture
def took(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """How many seconds each callback of an event loop has blocked the loop."""
    seconds: list[tuple[float, str]] = []
    run_callback = asyncio.events.Handle._run

    def run_and_measure(handle: asyncio.Handle) -> None:
        start = time.perf_counter()
        try:
            run_callback(handle)
        finally:
            seconds.append((time.perf_counter() - start, repr(handle)))

    monkeypatch.setattr(asyncio.events.Handle, "_run", run_and_measure)
    return seconds


async def look(stream: Any) -> None:
    """Ask again and again for what a file tells."""
    while True:
        with contextlib.suppress(ValueError):  # closed
            assert stream.tell() >= 0
        assert stream.parts_in_flight >= 0
        assert repr(stream)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "fails"),
    [
        ({"max_concurrency": 1}, False),
        ({"max_concurrency": 1, "compression": "gzip"}, False),
        ({"max_concurrency": 4}, False),
        ({"max_concurrency": 1}, True),
    ],
    ids=["writes wait", "compressed writes wait", "close waits", "an abort waits"],
)
def test_no_callback_of_the_loop_takes_long_while_the_store_is_slow(
    client: Any, key: str, options: Any, fails: bool, took: list[tuple[float, str]]
) -> None:
    async def main() -> bool:
        with pytest.raises(Boom) if fails else contextlib.nullcontext():
            async with opened(client, key, equal_parts=True, **options) as stream:
                looking = asyncio.create_task(look(stream))
                await write_all(stream, LARGE)
                if fails:
                    raise Boom
        return not looking.done()

    calls = {"CreateMultipartUpload", "UploadPart", "AbortMultipartUpload" if fails else "CompleteMultipartUpload"}
    wire = Wire(client)
    for call in calls:
        wire.on(call, delay(1.0))
    assert run(main())
    longest, callback = max(took)
    assert longest < 0.5, callback
    assert calls <= set(wire.sent)
