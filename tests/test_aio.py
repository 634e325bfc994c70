"""An async writer keeps the promises of a writer, and never blocks its event loop."""

import asyncio
import contextlib
import gc
import gzip
import io
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from s3writer import (
    AccessDeniedError,
    IncompleteError,
    KeyExistsError,
    MultipartUploadWriter,
    NotCommittedError,
    PendingUpload,
    UploadResult,
    aio,
)
from s3writer.aio import opening
from s3writer.testing import MemoryS3
from tests.conftest import join_aborts
from tests.helpers import MIB, Boom, content, data, join_threads, logged, uploads
from tests.stores import BUCKET, Store
from tests.wire import Wire, answer, delay, refuse

PAYLOAD = data(21 * MIB)
Write = Callable[[aio.AsyncWriter], Awaitable[object]]


def opened(client: Any, key: str, mode: Any = "wb", **options: Any) -> Any:
    """An async writer to be, to the test bucket."""
    return aio.open(f"s3://{BUCKET}/{key}", mode, client=client, **options)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What the coroutine returns, from a loop of its own."""
    return asyncio.run(coroutine)


async def write_pieces(stream: aio.AsyncWriter, payload: bytes = PAYLOAD, size: int = 100_000) -> None:
    for start in range(0, len(payload), size):
        await stream.write(payload[start : start + size])


def test_what_is_written_in_pieces_of_any_size_is_published(any_store: Store, key: str) -> None:
    async def write() -> Any:
        async with opened(any_store.client(), key) as stream:
            await write_pieces(stream, PAYLOAD[: 6 * MIB])
            await stream.write(b"")
            await stream.writelines([bytearray(PAYLOAD[6 * MIB : 7 * MIB]), memoryview(PAYLOAD)[7 * MIB :]])
            assert stream.tell() == len(PAYLOAD)
        return stream

    stream = run(write())
    assert content(any_store.client(), key) == PAYLOAD
    assert (stream.result.size, stream.closed, stream.name) == (len(PAYLOAD), True, f"s3://{BUCKET}/{key}")
    assert (stream.bucket, stream.key, stream.parts_in_flight) == (BUCKET, key, 0)
    assert repr(stream) == f"<AsyncWriter of {stream._writer!r}>"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Grüße\n" * 10, {}, "Grüße\n".encode() * 10),
        ("Grüße\n" * 10, {"newline": "\r\n"}, "Grüße\r\n".encode() * 10),
        ("a\n", {"newline": ""}, b"a\n"),
        ("Grüße\n", {"encoding": "utf-16"}, "Grüße\n".encode("utf-16")),
        ("Grüße", {"encoding": "ascii", "errors": "replace"}, b"Gr??e"),
        ("ab" * 100_000, {"encoding": "utf-16-le"}, ("ab" * 100_000).encode("utf-16-le")),
        ("long " * 200_000, {"encoding": "utf-16-le"}, ("long " * 200_000).encode("utf-16-le")),
    ],
    ids=["utf-8", "line ends", "no line ends", "with a mark", "replaced", "too long for the room", "long"],
)
def test_text_is_encoded_as_the_built_in_open_does(
    client: Any, key: str, text: str, options: Any, expected: bytes
) -> None:
    async def write() -> int:
        async with opened(client, key, "w", **options) as stream:
            return int(await stream.write(text))

    assert run(write()) == len(text)
    assert content(client, key) == expected


def test_lines_of_text_are_written_one_after_another(client: Any, key: str) -> None:
    async def write() -> None:
        async with opened(client, key, "w") as stream:
            await stream.writelines(["Grüße\n", "two\n"])

    run(write())
    assert content(client, key) == "Grüße\ntwo\n".encode()


@pytest.mark.parametrize("encoding", ["iso2022_jp", "hz", "shift_jisx0213", "utf-7"])
def test_what_an_encoder_holds_back_is_written_at_the_end(client: Any, key: str, encoding: str) -> None:
    async def write() -> None:
        async with opened(client, key, "w", encoding=encoding) as stream:
            for character in "かな":
                await stream.write(character)

    run(write())
    found = content(client, key)
    assert found is not None
    assert found.decode(encoding) == "かな"


@pytest.mark.parametrize("text", ["ä", "x" * 300_000 + "ä"], ids=["short", "long"])
def test_text_that_can_not_be_encoded_is_not_taken_at_all(client: Any, key: str, text: str) -> None:
    async def write() -> None:
        async with opened(client, key, "w", encoding="ascii") as stream:
            with pytest.raises(UnicodeEncodeError):
                await stream.write(text)
            await stream.write("instead")

    run(write())
    assert content(client, key) == b"instead"


@pytest.mark.parametrize(("encoding", "bad"), [("iso2022_jp", "日\ud800"), ("hz", "中\ud800"), ("utf-8-sig", "\ud800")])
def test_text_that_can_not_be_encoded_leaves_the_encoder_as_it_was(
    client: Any, key: str, encoding: str, bad: str
) -> None:
    async def write() -> None:
        async with opened(client, key, "w", encoding=encoding) as stream:
            with pytest.raises(UnicodeEncodeError):
                await stream.write(bad)
            await stream.write("文")

    run(write())
    assert content(client, key) == "文".encode(encoding)


def test_text_is_compressed_by_its_suffix(client: Any, key: str) -> None:
    async def write() -> None:
        async with opened(client, f"{key}.gz", "w") as stream:
            for number in range(1000):
                await stream.write(f"{number}\n")

    run(write())
    packed = content(client, f"{key}.gz")
    assert packed is not None
    assert gzip.decompress(packed).decode().split() == [str(number) for number in range(1000)]


def test_a_key_that_exists_is_left_as_it_is_in_an_exclusive_mode(client: Any, key: str) -> None:
    async def write(text: str) -> None:
        async with opened(client, key, "x") as stream:
            await stream.write(text)

    run(write("first"))
    with pytest.raises(KeyExistsError):
        run(write("second"))
    assert content(client, key) == b"first"


def test_any_writer_can_be_wrapped(client: Any, key: str) -> None:
    async def write() -> None:
        async with aio.wrap(lambda: MultipartUploadWriter(BUCKET, key, client=client)) as stream:
            await stream.write(b"wrapped")

    run(write())
    assert content(client, key) == b"wrapped"


def test_a_writer_that_is_awaited_is_closed_by_hand(client: Any, key: str) -> None:
    async def write() -> None:
        stream = await opened(client, key)
        await stream.write(b"by hand")
        await stream.close()
        await stream.close()
        with pytest.raises(ValueError, match="closed"):
            await stream.write(b"more")

    run(write())
    assert content(client, key) == b"by hand"


@pytest.mark.parametrize(
    ("mode", "options", "error", "message"),
    [
        ("rb", {}, ValueError, "mode='rb'"),
        ("wb", {"newline": "\n"}, ValueError, "are for text"),
        ("wb", {"part_size": 1}, ValueError, "part_size=1"),
        ("w", {"encoding": "no such"}, LookupError, "no such"),
        ("w", {"errors": "no such"}, LookupError, "no such"),
        ("w", {"newline": "|"}, ValueError, "newline="),
    ],
)
def test_what_is_impossible_is_refused_as_by_a_writer(
    client: Any, key: str, mode: str, options: Any, error: type[Exception], message: str
) -> None:
    async def write() -> None:
        async with opened(client, key, mode, **options):
            pass

    with pytest.raises(error, match=message):
        run(write())


@pytest.mark.parametrize(
    ("mode", "wrong", "error"),
    [("wb", "text", TypeError), ("wb", 5, TypeError), ("w", b"bytes", TypeError), ("wb", None, BufferError)],
)
def test_a_write_of_what_can_not_be_written_takes_nothing(
    client: Any, key: str, mode: str, wrong: Any, error: type[Exception]
) -> None:
    async def write() -> None:
        async with opened(client, key, mode) as stream:
            with pytest.raises(error):
                await stream.write(memoryview(b"abcd")[::2] if wrong is None else wrong)

    run(write())
    assert content(client, key) == b""


async def raise_in_the_block(stream: aio.AsyncWriter) -> None:
    raise Boom


async def raise_in_finally(stream: aio.AsyncWriter) -> None:
    try:
        raise Boom
    finally:
        await stream.close()


async def raise_in_aclosing(stream: aio.AsyncWriter) -> None:
    async with contextlib.aclosing(stream):
        raise Boom


async def raise_in_a_group(stream: aio.AsyncWriter) -> None:
    async def fail() -> None:
        raise Boom

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(write_pieces(stream, PAYLOAD * 10))
            group.create_task(fail())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


@pytest.mark.parametrize(
    "fail", [raise_in_the_block, raise_in_finally, raise_in_aclosing, raise_in_a_group], ids=lambda fail: fail.__name__
)
@pytest.mark.parametrize("size", [100, 21 * MIB])
def test_an_exception_leaves_the_key_as_it_was(client: Any, key: str, size: int, fail: Write) -> None:
    async def write() -> None:
        async with opened(client, key) as stream:
            await write_pieces(stream, PAYLOAD[:size])
            await fail(stream)

    client.put_object(Bucket=BUCKET, Key=key, Body=b"before")
    with logged(), pytest.raises(Boom):
        run(write())
    assert content(client, key) == b"before"
    assert uploads(client, key) == []


def test_an_exception_that_was_there_before_does_not_count(client: Any, key: str) -> None:
    async def write() -> None:
        try:
            raise Boom
        except Boom:
            stream = await opened(client, key)
            await stream.write(b"about the error")
            await stream.close()

    run(write())
    assert content(client, key) == b"about the error"


def test_a_commit_publishes_although_an_exception_propagates(client: Any, key: str) -> None:
    async def write() -> Any:
        async with opened(client, key) as stream:
            try:
                await stream.write(b"as far as it came")
                raise Boom
            except Boom:
                return await stream.commit()

    assert run(write()).size == 17
    assert content(client, key) == b"as far as it came"


def test_what_is_prepared_is_committed_later(client: Any, key: str) -> None:
    async def write() -> Any:
        async with opened(client, key) as stream:
            await stream.write(PAYLOAD)
            return await stream.prepare()

    pending = run(write())
    assert content(client, key) is None
    pending.commit(client=client)
    assert content(client, key) == PAYLOAD


def test_an_abort_leaves_nothing(client: Any, key: str) -> None:
    async def write() -> None:
        async with opened(client, key) as stream:
            await stream.write(PAYLOAD)
            await stream.abort()

    run(write())
    assert content(client, key) is None
    assert uploads(client, key) == []


@pytest.mark.parametrize("most_in_flight", [64, 0], ids=["in its thread", "between two threads"])
def test_an_abort_stops_another_task_s_write(
    client: Any, key: str, most_in_flight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write() -> BaseException | None:
        async with opened(client, key, max_concurrency=1) as stream:
            writing = asyncio.create_task(stream.write(PAYLOAD * 3))
            await asyncio.sleep(0.3)
            await stream.abort()
            await asyncio.wait([writing])
            return writing.exception()

    wire = Wire(client)
    wire.on("UploadPart", delay(0.5))
    wire.on("AbortMultipartUpload", delay(0.5))
    monkeypatch.setattr("s3writer.aio.turns._MOST_IN_FLIGHT", most_in_flight)
    assert isinstance(run(write()), NotCommittedError)
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_size_that_is_demanded_holds(client: Any, key: str) -> None:
    async def write() -> None:
        async with opened(client, key, exact_size=10) as stream:
            await stream.write(b"short")

    with pytest.raises(IncompleteError):
        run(write())
    assert content(client, key) is None


def test_what_refused_a_part_is_raised_by_a_later_write(client: Any, key: str) -> None:
    async def write() -> None:
        async with opened(client, key, max_concurrency=1) as stream:
            await write_pieces(stream, PAYLOAD * 2)

    Wire(client).on("UploadPart", refuse(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError):
        run(write())
    assert uploads(client, key) == []


def test_each_write_of_many_tasks_goes_in_as_one_piece_in_the_order_of_the_calls(client: Any, key: str) -> None:
    sizes = [100, 300_000, 5, 2_000_000, 64 * 1024, 9_000_000, 1]
    pieces = [bytes([number]) * sizes[number % len(sizes)] for number in range(40)]

    async def write() -> None:
        async with opened(client, key) as stream, asyncio.TaskGroup() as group:
            for piece in pieces:
                group.create_task(stream.write(piece))

    run(write())
    assert content(client, key) == b"".join(pieces)


# Cancelled


class Stall:
    """A call of the store that waits until it is let go."""

    def __init__(self) -> None:
        self.is_stalled = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, _: Any) -> None:
        self.is_stalled.set()
        assert self.may_go_on.wait(30)


@contextlib.contextmanager
def stalled(client: Any, call: str) -> Iterator[Stall]:
    stall = Stall()
    Wire(client).on(call, stall)
    try:
        yield stall
    finally:
        stall.may_go_on.set()


async def cancel_when(task: "asyncio.Task[None]", happened: threading.Event) -> list[str]:
    """Cancel ``task`` when that has happened; the notes of what it raises."""
    assert await asyncio.to_thread(happened.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return list(getattr(caught.value, "__notes__", []))


async def cancel_in(client: Any, call: str, write: Coroutine[Any, Any, None], after: float = 0.0) -> list[str]:
    """Cancel the task of ``write`` so many seconds after ``call`` has reached the store, which goes on half a second
    later; the notes of what the task raises.
    """
    with stalled(client, call) as stall:
        task = asyncio.create_task(write)
        assert await asyncio.to_thread(stall.is_stalled.wait, 30)
        await asyncio.sleep(after)
        asyncio.get_running_loop().call_later(0.5, stall.may_go_on.set)
        return await cancel_when(task, stall.is_stalled)


async def write_whole(client: Any, key: str, payload: bytes = PAYLOAD, **options: Any) -> None:
    async with opened(client, key, **options) as stream:
        await stream.write(payload)


def test_a_task_that_is_cancelled_in_a_write_publishes_nothing(client: Any, key: str) -> None:
    with logged():
        notes = run(cancel_in(client, "UploadPart", write_whole(client, key, max_concurrency=1)))
    assert [note for note in notes if "was not published" in note]
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_task_that_is_cancelled_before_its_commit_is_sent_publishes_nothing(client: Any, key: str) -> None:
    async def write() -> None:
        async with opened(client, key) as stream:
            await stream.write(PAYLOAD)
            await stream.commit()

    with logged():
        notes = run(cancel_in(client, "UploadPart", write(), after=0.2))
    assert [note for note in notes if "was not published" in note]
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_task_that_is_cancelled_after_its_commit_was_sent_is_told_what_became_of_it(client: Any, key: str) -> None:
    notes = run(cancel_in(client, "CompleteMultipartUpload", write_whole(client, key)))
    assert [note for note in notes if "was published" in note]
    assert content(client, key) == PAYLOAD


def test_a_task_that_is_cancelled_while_a_small_object_is_sent_is_told_the_truth(client: Any, key: str) -> None:
    with logged():
        notes = run(cancel_in(client, "PutObject", write_whole(client, key, b"small")))
    is_there = content(client, key) == b"small"
    assert [note for note in notes if ("was published" if is_there else "not published") in note]


@pytest.mark.parametrize("by_hand", [False, True], ids=["at the end of the block", "in the block"])
def test_a_commit_whose_answer_does_not_come_is_not_waited_for_after_a_cancellation(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    async def write() -> None:
        async with opened(client, key) as stream:
            await stream.write(PAYLOAD)
            if by_hand:
                await stream.commit()

    async def main() -> list[str]:
        with stalled(client, "CompleteMultipartUpload") as stall:
            notes = await cancel_when(asyncio.create_task(write()), stall.is_stalled)
            assert not stall.may_go_on.is_set()
        return notes

    monkeypatch.setattr("s3writer.aio.turns.PATIENCE_SECONDS", 0.1)
    assert [note for note in run(main()) if "is not known" in note]
    join_threads()
    assert content(client, key) == PAYLOAD


def test_what_is_cancelled_is_kept_where_failed_uploads_are(client: Any, key: str) -> None:
    with logged():
        notes = run(cancel_in(client, "UploadPart", write_whole(client, key, on_error="keep", max_concurrency=1)))
    (upload_id,) = uploads(client, key)
    assert [note for note in notes if "was kept" in note and upload_id in note]
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


@pytest.mark.parametrize("seconds", [0.0, 0.5], ids=["begun", "begins"])
@pytest.mark.parametrize("goes_on", [False, True], ids=["between two calls", "in a write"])
def test_a_second_cancellation_ends_the_wait_for_the_abort_and_names_the_upload(
    client: Any, key: str, goes_on: bool, seconds: float
) -> None:
    async def write() -> None:
        async with opened(client, key) as stream:
            await stream.write(PAYLOAD)
            is_written.set()
            while goes_on:
                await stream.write(PAYLOAD)
            await asyncio.sleep(60)

    async def main() -> None:
        with stalled(client, "AbortMultipartUpload") as stall:
            task = asyncio.create_task(write())
            assert await asyncio.to_thread(is_written.wait, 30)
            task.cancel()
            notes = await cancel_when(task, stall.is_stalled)
            assert not stall.may_go_on.is_set()
            assert "s3writer-aio" in {thread.name for thread in threading.enumerate()}
            assert [note for note in notes if "could not be aborted" in note and "was interrupted" in note]

    Wire(client).on("CreateMultipartUpload", delay(seconds))
    is_written = threading.Event()
    with logged():
        run(main())
    join_threads()
    assert uploads(client, key) == []


def test_a_task_that_is_cancelled_while_its_turn_has_not_come_gives_the_upload_up(client: Any, key: str) -> None:
    async def main() -> None:
        with stalled(client, "UploadPart") as stall:
            async with opened(client, key, max_concurrency=1) as stream:
                first = asyncio.create_task(stream.write(PAYLOAD))
                second = asyncio.create_task(stream.write(PAYLOAD))
                asyncio.get_running_loop().call_later(0.5, stall.may_go_on.set)
                await cancel_when(second, stall.is_stalled)
                with pytest.raises(NotCommittedError):
                    await first
                with pytest.raises(NotCommittedError):
                    await stream.commit()

    with logged():
        run(main())
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_timeout_publishes_nothing(client: Any, key: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(0.3), opened(client, key) as stream:
            while True:
                await stream.write(PAYLOAD[:50_000])
                await asyncio.sleep(0.001)

    with logged(), pytest.raises(TimeoutError):
        run(main())
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_task_that_is_cancelled_while_its_writer_is_made_leaves_no_writer(client: Any, key: str) -> None:
    made = []

    def make() -> MultipartUploadWriter:
        time.sleep(0.3)
        made.append(MultipartUploadWriter(BUCKET, key, client=client))
        return made[0]

    async def main() -> None:
        async def write() -> None:
            async with aio.wrap(make) as stream:
                await stream.write(b"never")

        task = asyncio.create_task(write())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert made[0].closed
    assert content(client, key) is None


@pytest.fixture
def is_prepared(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set when an upload is prepared, a moment before the call returns."""
    happened, prepare = threading.Event(), MultipartUploadWriter.prepare

    def prepare_slowly(writer: MultipartUploadWriter) -> PendingUpload:
        pending = prepare(writer)
        happened.set()
        time.sleep(0.3)
        return pending

    monkeypatch.setattr(MultipartUploadWriter, "prepare", prepare_slowly)
    return happened


async def cancel_prepared(client: Any, key: str, is_prepared: threading.Event, **options: Any) -> list[str]:
    """Cancel a task that prepares an upload, once it is prepared; the notes of what the task raises."""

    async def write() -> None:
        async with opened(client, key, **options) as stream:
            await stream.write(PAYLOAD)
            await stream.prepare()

    return await cancel_when(asyncio.create_task(write()), is_prepared)


@pytest.mark.parametrize("on_error", ["abort", "keep"])
def test_what_is_prepared_for_a_task_that_is_cancelled_is_removed_or_kept(
    client: Any, key: str, on_error: Any, is_prepared: threading.Event
) -> None:
    notes = run(cancel_prepared(client, key, is_prepared, on_error=on_error))
    left = uploads(client, key)
    assert len(left) == (on_error == "keep")
    assert [note for note in notes if (f"{left[0]} of" if left else "was not published") in note]
    for upload_id in left:
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_an_upload_that_is_resumed_is_kept_if_the_task_is_cancelled_meanwhile(client: Any, key: str) -> None:
    is_resumed = threading.Event()

    def resume(upload_id: str) -> MultipartUploadWriter:
        writer = MultipartUploadWriter.resume(BUCKET, key, upload_id, client=client)
        is_resumed.set()
        time.sleep(0.3)
        return writer

    async def write() -> None:
        async with opened(client, key, on_error="keep") as stream:
            await stream.write(PAYLOAD)
            raise Boom

    async def main() -> list[str]:
        with pytest.raises(Boom):
            await write()
        (upload_id,) = uploads(client, key)

        async def go_on() -> None:
            async with aio.wrap(lambda: resume(upload_id)):
                pass

        return await cancel_when(asyncio.create_task(go_on()), is_resumed)

    with logged():
        notes = run(main())
    (upload_id,) = uploads(client, key)
    assert [note for note in notes if "was kept" in note and upload_id in note]
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_a_task_that_is_cancelled_while_its_writer_can_not_be_made_is_cancelled() -> None:
    def make() -> MultipartUploadWriter:
        time.sleep(0.3)
        raise Boom

    async def main() -> None:
        task = asyncio.create_task(aio.wrap(make)._open())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_what_could_not_be_removed_after_a_cancellation_is_named(
    client: Any, key: str, is_prepared: threading.Event
) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"))
    notes = run(cancel_prepared(client, key, is_prepared))
    (upload_id,) = uploads(client, key)
    assert [note for note in notes if upload_id in note and "could not be aborted" in note]
    wire.on("AbortMultipartUpload", lambda _: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_running_out_of_memory_in_a_short_write_gives_the_upload_up(client: Any, key: str) -> None:
    def run_out(_: object) -> int:
        raise MemoryError

    async def write() -> None:
        async with await opened(client, key) as stream:
            stream._writer._put = run_out
            with pytest.raises(MemoryError):
                await stream.write(b"short")
            with pytest.raises(NotCommittedError):
                await stream.write(b"short")

    with contextlib.suppress(NotCommittedError):
        run(write())
    assert content(client, key) is None


def test_a_loop_that_ends_with_writers_open_publishes_nothing(client: Any, key: str) -> None:
    async def main() -> None:
        stream = await opened(client, key)
        await stream.write(PAYLOAD)

    with logged(), pytest.warns(ResourceWarning, match="never closed"):
        run(main())
        gc.collect()
    join_aborts()
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_an_async_generator_that_is_not_finished_publishes_nothing(client: Any, key: str) -> None:
    async def produce() -> AsyncIterator[int]:
        async with opened(client, key) as stream:
            for number in range(10):
                await stream.write(PAYLOAD[: 3 * MIB])
                yield number

    async def main() -> None:
        async for number in produce():
            if number == 4:
                break

    with logged():
        run(main())
        gc.collect()
        join_aborts()
    assert content(client, key) is None
    assert uploads(client, key) == []


# Cancelled at each await


class Cancelled:
    """Awaits a coroutine, and cancels its wait number ``nth`` (from 1): when it begins, or when its end has come."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], nth: int, *, at_the_end: bool) -> None:
        self._coroutine = coroutine
        self._nth = nth
        self._at_the_end = at_the_end
        self.was_cancelled = False

    def __await__(self) -> Generator[Any, None, Any]:
        step = partial(self._coroutine.send, None)
        for number in itertools.count(1):
            try:
                future = step()
            except StopIteration as ended:
                return ended.value
            if is_due := number == self._nth:
                self.was_cancelled = True
                if not self._at_the_end and future is not None:
                    future.cancel()
            try:
                yield future
                step = partial(self._coroutine.send, None)
                if is_due:
                    step = partial(self._coroutine.throw, asyncio.CancelledError())
            except asyncio.CancelledError as error:
                step = partial(self._coroutine.throw, error)


Scenario = Callable[[aio.Opening[Any]], Coroutine[Any, Any, object]]


async def write_and_commit(opening: aio.Opening[aio.AsyncWriter]) -> object:
    async with opening as stream:
        for start in range(0, 11 * MIB, 4 * MIB):
            await stream.write(PAYLOAD[start : min(start + 4 * MIB, 11 * MIB)])
        return await stream.commit()


async def write_a_small_object(opening: aio.Opening[aio.AsyncWriter]) -> object:
    async with opening as stream:
        await stream.write(b"small")
    return stream.result


async def write_and_prepare(opening: aio.Opening[aio.AsyncWriter]) -> object:
    async with opening as stream:
        await stream.write(PAYLOAD[: 6 * MIB])
        return await stream.prepare()


async def write_and_abort(opening: aio.Opening[aio.AsyncWriter]) -> object:
    async with opening as stream:
        await stream.write(PAYLOAD[: 6 * MIB])
        await stream.abort()
    return None


async def write_compressed_text(opening: aio.Opening[aio.AsyncTextWriter]) -> object:
    async with opening as stream:
        for number in range(3):
            await stream.write(f"{number}\n" * 200_000)
    return stream.result


@pytest.mark.parametrize("at_the_end", [False, True], ids=["when a wait begins", "when a wait has ended"])
@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        (write_and_commit, {}),
        (write_a_small_object, {}),
        (write_and_prepare, {}),
        (write_and_abort, {}),
        (write_compressed_text, {"mode": "w", "compression": "gzip"}),
    ],
    ids=["commit", "small", "prepare", "abort", "compressed text"],
)
def test_a_cancellation_at_any_await_tells_the_truth_and_leaves_nothing(
    scenario: Scenario, options: Any, at_the_end: bool
) -> None:
    async def main(url: str, nth: int) -> tuple[bool, object, str]:
        cancelled = Cancelled(scenario(aio.open(url, client=store.client, **options)), nth, at_the_end=at_the_end)
        try:
            return cancelled.was_cancelled, await cancelled, ""
        except asyncio.CancelledError as error:
            return True, None, "\n".join(getattr(error, "__notes__", []))

    store, awaits = MemoryS3("bucket"), 0
    for nth in itertools.count(1):
        url = f"s3://bucket/{nth}"
        with logged():
            was_cancelled, outcome, notes = run(main(url, nth))
        if isinstance(outcome, PendingUpload):
            outcome.abort(client=store.client)
        says_published = isinstance(outcome, UploadResult) or "was published" in notes
        assert "is not known" in notes or (url in store.objects) == says_published, (nth, notes)
        assert store.unfinished == [], (nth, notes)
        if not was_cancelled:
            break
        awaits = nth
    join_threads()
    assert awaits >= 2


@pytest.mark.parametrize("on_error", ["abort", "keep"])
def test_an_abort_beside_another_task_s_commit_removes_the_upload(client: Any, key: str, on_error: str) -> None:
    async def main() -> BaseException | None:
        with stalled(client, "UploadPart") as stall:
            stream = await opened(client, key, on_error=on_error)
            await stream.write(PAYLOAD)
            committing = asyncio.create_task(stream.commit())
            assert await asyncio.to_thread(stall.is_stalled.wait, 30)
            await asyncio.sleep(0.1)
            asyncio.get_running_loop().call_later(0.3, stall.may_go_on.set)
            await stream.abort()
            await asyncio.wait([committing])
            return committing.exception()

    with logged():
        assert isinstance(run(main()), NotCommittedError)
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_a_small_object_whose_sending_another_task_stops_was_not_published(client: Any, key: str) -> None:
    async def main() -> BaseException | None:
        with stalled(client, "PutObject") as stall:
            stream = await opened(client, key)
            await stream.write(PAYLOAD[: 4 * MIB])
            committing = asyncio.create_task(stream.commit())
            waiting = asyncio.create_task(stream.write(b"more"))
            asyncio.get_running_loop().call_later(0.3, stall.may_go_on.set)
            await cancel_when(waiting, stall.is_stalled)
            await asyncio.wait([committing])
            return committing.exception()

    with logged():
        error = run(main())
    assert (error is None) == (content(client, key) is not None)
    assert error is None or isinstance(error, NotCommittedError)


def test_a_writer_of_another_loop_is_refused(client: Any, key: str) -> None:
    stream = run(opened(client, key)._open())

    async def write() -> None:
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await stream.write(PAYLOAD)

    run(write())
    stream._writer.abort()


# The loop


async def let_go(stall: Stall) -> None:
    """Let the stalled call go on once the loop has come here 20 times meanwhile."""
    ticks = 0
    while ticks < 20:
        await asyncio.sleep(0.01)
        ticks += stall.is_stalled.is_set()
    stall.may_go_on.set()


@pytest.mark.parametrize("call", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject"])
def test_the_loop_goes_on_while_the_store_stalls(client: Any, key: str, call: str) -> None:
    async def main() -> None:
        async with opened(client, key, max_concurrency=1) as stream, asyncio.TaskGroup() as group:
            letting_go = group.create_task(let_go(stall))
            await stream.write(b"small" if call == "PutObject" else PAYLOAD)
            group.create_task(stream.close())
        assert letting_go.done()

    with stalled(client, call) as stall:
        run(main())
    assert stall.is_stalled.is_set()


@pytest.mark.parametrize("ending", ["a part fails", "abort", "an exception"])
def test_the_loop_goes_on_while_an_upload_is_removed(client: Any, key: str, ending: str) -> None:
    async def main() -> None:
        letting_go = asyncio.create_task(let_go(stall))
        with contextlib.suppress(NotCommittedError, Boom):
            async with opened(client, key, max_concurrency=1) as stream:
                if ending == "a part fails":
                    await write_pieces(stream, PAYLOAD * 2)
                await stream.write(PAYLOAD)
                if ending == "abort":
                    await stream.abort()
                else:
                    raise Boom
        await letting_go

    with logged(), stalled(client, "AbortMultipartUpload") as stall:
        if ending == "a part fails":
            Wire(client).on("UploadPart", refuse(403, "AccessDenied"), nth=1)
        run(main())
    assert stall.is_stalled.is_set()
    assert uploads(client, key) == []


def test_a_write_that_fits_is_done_without_a_thread() -> None:
    async def main() -> None:
        with MemoryS3("bucket"):
            async with aio.open("s3://bucket/key") as stream:
                before = {thread.ident for thread in threading.enumerate()}
                write = stream.write(b"short")
                with pytest.raises(StopIteration) as ended:
                    write.send(None)  # it awaits nothing
                assert ended.value.value == 5
                assert {thread.ident for thread in threading.enumerate()} <= before

    run(main())


@pytest.mark.no_cover
def test_a_hundred_writers_need_a_bounded_number_of_threads(store: Store, key: str) -> None:
    most = 0

    async def write(number: int) -> None:
        nonlocal most
        async with opened(client, f"{key}/{number}") as stream:
            for start in range(0, 11 * MIB, MIB):
                await stream.write(PAYLOAD[start : start + MIB])
                most = max(most, threading.active_count() - before)
            await stream.abort()

    def store_slowly(request: Any) -> Any:
        time.sleep(0.2)
        return answer(200, b"", ETag='"an etag"')(request)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(write(number))

    client, before = store.client(max_pool_connections=200), threading.active_count()
    Wire(client).on("UploadPart", store_slowly)
    run(main())
    assert 32 < most <= 100 + 64 + 2 * 32


async def most_threads(work: Coroutine[Any, Any, object]) -> int:
    """How many threads there are at the most, beyond those that were there before, while ``work`` is awaited."""
    most, before = 0, threading.active_count()
    task = asyncio.create_task(work)
    while not task.done():
        most = max(most, threading.active_count() - before)
        await asyncio.sleep(0.01)
    await task
    return most


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_where_no_thread_can_be_had_the_object_is_published(
    client: Any, key: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_to_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def write() -> None:
        async with opened(client, key) as stream:
            await stream.write(PAYLOAD[:size])

    join_threads()
    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)
    run(write())
    assert content(client, key) == PAYLOAD[:size]


def test_a_hundred_writers_that_are_made_at_once_need_a_bounded_number_of_threads() -> None:
    def make() -> MultipartUploadWriter:
        time.sleep(0.1)
        return MultipartUploadWriter("bucket", "key")

    async def make_all() -> None:
        for stream in await asyncio.gather(*(aio.wrap(make) for _ in range(100))):
            await stream.abort()

    join_threads()
    assert 16 < run(most_threads(make_all())) <= 2 * 32


def test_a_task_that_is_cancelled_while_others_make_their_writers_ends_at_once() -> None:
    def make() -> MultipartUploadWriter:
        assert may_go_on.wait(30)
        return MultipartUploadWriter("bucket", "key")

    async def open_all() -> tuple[int, bool]:
        makings = [asyncio.create_task(asyncio.wait_for(aio.wrap(make), 60)) for _ in range(33)]
        await asyncio.sleep(0.1)
        makings[-1].cancel()
        await asyncio.wait([makings[-1]])
        may_go_on.set()
        streams = await asyncio.gather(*makings[:-1])
        for stream in streams:
            await stream.abort()
        return len(streams), makings[-1].cancelled()

    may_go_on = threading.Event()
    assert run(open_all()) == (32, True)


def test_a_task_that_is_cancelled_while_its_writer_is_made_ends_soon_and_what_is_made_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make() -> MultipartUploadWriter:
        stream = MultipartUploadWriter("bucket", "key")
        stream.write(PAYLOAD[: 6 * MIB])
        made.append(stream)
        assert may_go_on.wait(30)
        return stream

    async def main() -> None:
        task = asyncio.create_task(asyncio.wait_for(aio.wrap(make), 60))
        while not made:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), made[0].closed) == (True, False)
        may_go_on.set()
        while not made[0].closed:
            await asyncio.sleep(0.01)

    monkeypatch.setattr(opening, "PATIENCE_SECONDS", 0.1)
    made: list[MultipartUploadWriter] = []
    may_go_on = threading.Event()
    with MemoryS3("bucket") as memory:
        run(main())
    assert (memory.objects, memory.unfinished) == ({}, [])


@pytest.mark.no_cover
def test_writers_whose_parts_have_all_arrived_do_not_wait_for_one_another() -> None:
    async def main() -> int:
        streams = [await aio.open(f"s3://bucket/{number}") for number in range(70)]
        for stream in streams:
            await stream.write(PAYLOAD[: 5 * MIB + 1])
        for thread in threading.enumerate():
            if thread.name == "s3writer-part":
                await asyncio.to_thread(thread.join, 30)
        async with asyncio.timeout(60):
            for stream in streams:
                await stream.write(PAYLOAD[:MIB])
                await stream.abort()
        return len(streams)

    with MemoryS3("bucket") as s3:
        assert run(main()) == 70
    assert s3.unfinished == []


def test_nothing_of_a_future_that_nobody_awaits_any_more_is_complained_of(
    client: Any, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        with stalled(client, "UploadPart") as stall:
            stream = await opened(client, key, max_concurrency=1)
            task = asyncio.create_task(stream.write(PAYLOAD))
            asyncio.get_running_loop().call_later(0.3, stall.may_go_on.set)
            await cancel_when(task, stall.is_stalled)

    with logged():
        run(main())
        gc.collect()
    assert "never retrieved" not in capsys.readouterr().err
    assert io.RawIOBase not in aio.AsyncWriter.__mro__
