"""A coroutine writes to a store that refuses calls, loses answers or is slow."""

import asyncio
import contextlib
import itertools
import time
from typing import Any

import pytest

from tests.helpers import MIB, Boom, data
from tests.stages import Place, StagesOfAnySize
from tests.stores import BUCKET, Store
from tests.test_aio import opened, run
from tests.wire import Wire, delay

LARGE = data(12 * MIB)


class TestStages(StagesOfAnySize):
    """The end of the block publishes, or a call in the block."""

    @pytest.fixture(params=["close", "commit"])
    def place(self, client: Any, key: str, store: Store, request: pytest.FixtureRequest) -> Place:
        writing = store.client()

        async def write(payload: bytes) -> None:
            async with opened(writing, key) as stream:
                await write_all(stream, payload)
                if request.param == "commit":
                    await stream.commit()
            assert stream.result.size == len(payload)

        return Place(client, BUCKET, key, writing, lambda payload: run(write(payload)))


async def write_all(stream: Any, payload: bytes) -> None:
    """Write ``payload`` in pieces of 64 KiB to 1 MiB."""
    sizes, start = itertools.cycle([MIB // 16, MIB // 4, MIB]), 0
    while start < len(payload):
        start += await stream.write(payload[start : start + next(sizes)])


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
