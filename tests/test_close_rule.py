"""close() publishes, or aborts: each way out of a writer, and what is in the bucket afterwards."""

import bz2
import contextlib
import gc
import gzip
import io
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, cast

import pytest

import s3writer
from s3writer import AbortedError, AccessDeniedError, IncompleteError, MultipartUploadWriter, NotCommittedError
from tests.conftest import join_aborts
from tests.helpers import MIB, Boom, content, data, logged, uploads, writer
from tests.stores import BUCKET
from tests.wire import Wire, refuse
from tests.wrappers import WRAPPERS, write

SMALL, LARGE = data(1000), data(6 * MIB)
OLD = b"yesterday's object"


def with_writer(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    with stream:
        stream.write(payload)
        raise error


def with_text_wrapper(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    with io.TextIOWrapper(stream, encoding="latin-1") as text:
        text.write(payload.decode("latin-1"))
        raise error


def with_buffered_wrapper(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    with io.BufferedWriter(stream) as buffered:
        buffered.write(payload)
        raise error


def with_writer_and_text_wrapper(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    with stream, io.TextIOWrapper(stream, encoding="latin-1") as text:
        text.write(payload.decode("latin-1"))
        raise error


def with_writer_and_gzip(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    with stream, gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=0) as packed:
        packed.write(payload)
        raise error


def try_finally(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    try:
        stream.write(payload)
        raise error
    finally:
        stream.close()


def closing(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    with contextlib.closing(stream):
        stream.write(payload)
        raise error


def exit_stack(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(stream)
        stack.callback(stream.close)
        stream.write(payload)
        raise error


def exit_stack_whose_cleanup_fails(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    def clean_up() -> None:
        raise error

    with contextlib.ExitStack() as stack:
        stack.enter_context(stream)
        stack.callback(clean_up)
        stream.write(payload)


def except_block(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    stream.write(payload)
    try:
        raise error
    except BaseException:
        stream.close()
        raise


def with_in_finally(stream: MultipartUploadWriter, payload: bytes, error: BaseException) -> None:
    try:
        raise error
    finally:
        with stream:
            stream.write(payload)


WAYS_OUT: list[Callable[[MultipartUploadWriter, bytes, BaseException], None]] = [
    with_writer,
    with_text_wrapper,
    with_buffered_wrapper,
    with_writer_and_text_wrapper,
    with_writer_and_gzip,
    try_finally,
    closing,
    exit_stack,
    exit_stack_whose_cleanup_fails,
    except_block,
    with_in_finally,
]


@pytest.fixture(params=[None, OLD], ids=["new key", "old object"])
def before(request: pytest.FixtureRequest, client: Any, key: str) -> bytes | None:
    """What is under the key beforehand."""
    old: bytes | None = request.param
    if old is not None:
        client.put_object(Bucket=BUCKET, Key=key, Body=old)
    return old


@pytest.mark.parametrize(
    ("error", "payload"),
    [(Boom("halfway"), SMALL), (Boom("halfway"), LARGE), (KeyboardInterrupt(), LARGE), (SystemExit(3), SMALL)],
    ids=["small", "large", "KeyboardInterrupt", "SystemExit"],
)
@pytest.mark.parametrize("way_out", WAYS_OUT, ids=lambda way: way.__name__)
@pytest.mark.no_cover
def test_an_exception_leaves_the_key_as_it_was_and_goes_on(
    client: Any, key: str, before: bytes | None, way_out: Any, error: BaseException, payload: bytes
) -> None:
    stream = writer(client, key)
    error = type(error)(*error.args)
    with pytest.raises(type(error)) as caught:
        way_out(stream, payload, error)
    assert caught.value is error
    assert stream.closed
    assert content(client, key) == before
    assert uploads(client, key) == []
    assert error.__notes__ == [
        f"s3://{BUCKET}/{key} was not published: its writer was closed while this exception was in flight"
    ]


def test_a_generator_closed_early_publishes_nothing(client: Any, key: str, before: bytes | None) -> None:
    def rows() -> Generator[int, None, None]:
        with writer(client, key) as stream:
            while True:
                yield stream.write(LARGE)

    generator = rows()
    next(generator)
    generator.close()
    assert content(client, key) == before
    assert uploads(client, key) == []


def test_a_generator_that_is_dropped_publishes_nothing(client: Any, key: str, before: bytes | None) -> None:
    def rows() -> Iterator[int]:
        with io.TextIOWrapper(writer(client, key)) as text:
            yield text.write("x" * 6 * MIB)

    next(rows())
    gc.collect()
    assert content(client, key) == before
    assert uploads(client, key) == []


def test_an_abort_by_close_is_logged_at_info(client: Any, key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="s3writer")
    with pytest.raises(Boom), writer(client, key):
        raise Boom
    url = f"s3://{BUCKET}/{key}"
    end, reason = caplog.records
    assert (reason.name, reason.levelno, end.levelno) == ("s3writer", logging.INFO, logging.INFO)
    assert reason.getMessage() == (
        f"{url} was not published: its writer was closed while this exception was in flight: Boom"
    )
    assert end.getMessage().startswith(f"{url} aborted: ")


ABORTED_UNLOGGED = """
import s3writer
from s3writer.testing import MemoryS3

with MemoryS3("bucket"), s3writer.open("s3://bucket/key") as stream:
    stream.write(bytes({size}))
    raise RuntimeError("halfway")
"""


@pytest.mark.parametrize("size", [1, 6 * MIB])
def test_an_aborted_with_prints_nothing_beside_the_exception_if_logging_is_not_configured(size: int) -> None:
    script = ABORTED_UNLOGGED.format(size=size)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stderr.startswith("Traceback (most recent call last):\n")
    assert ended.stderr.endswith(
        "\nRuntimeError: halfway\n"
        "s3://bucket/key was not published: its writer was closed while this exception was in flight\n"
    )
    assert ended.stderr.count("s3://bucket/key was not published") == 1


def dropped(stream: MultipartUploadWriter, payload: bytes) -> object:
    stream.write(payload)
    return stream


def dropped_text_wrapper(stream: MultipartUploadWriter, payload: bytes) -> object:
    text = io.TextIOWrapper(stream, encoding="latin-1")
    text.write(payload.decode("latin-1"))
    return text


def dropped_buffered_wrapper(stream: MultipartUploadWriter, payload: bytes) -> object:
    buffered = io.BufferedWriter(stream)
    buffered.write(payload)
    return buffered


def dropped_text_over_buffered(stream: MultipartUploadWriter, payload: bytes) -> object:
    text = io.TextIOWrapper(io.BufferedWriter(stream), encoding="latin-1")
    text.write(payload.decode("latin-1"))
    return text


@pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("in_cycle", [False, True], ids=["no cycle", "cycle"])
@pytest.mark.parametrize(
    "drop",
    [dropped, dropped_text_wrapper, dropped_buffered_wrapper, dropped_text_over_buffered],
    ids=lambda drop: drop.__name__,
)
def test_what_is_dropped_without_close_publishes_nothing(
    client: Any, key: str, before: bytes | None, drop: Any, in_cycle: bool, payload: bytes
) -> None:
    holder: list[object] = [drop(writer(client, key), payload)]
    if in_cycle:
        holder.append(holder)
    with pytest.warns(ResourceWarning, match=key) as warned:
        del holder
        while not warned.list:  # while another thread collects, a call does nothing
            gc.collect()
    join_aborts()
    assert content(client, key) == before
    assert uploads(client, key) == []


def test_a_wrapper_that_dies_while_the_writer_lives_publishes_nothing(client: Any, key: str) -> None:
    stream = writer(client, key)
    text = io.TextIOWrapper(stream)
    text.write("x" * 6 * MIB)
    with pytest.warns(ResourceWarning, match="the file around it"):
        del text
    assert stream.closed
    stream.close()
    join_aborts()
    assert content(client, key) is None
    with pytest.raises(ValueError, match="closed"):
        stream.commit()


class Shared:
    """A stream that its wrapper does not close."""

    def __init__(self, stream: MultipartUploadWriter) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Not mine to close."""


def test_a_wrapper_without_a_close_of_its_own_may_die_before_the_writer_publishes(client: Any, key: str) -> None:
    stream = writer(client, key)
    text = io.TextIOWrapper(Shared(stream), write_through=True)
    text.write("kept")
    del text
    stream.close()
    assert content(client, key) == b"kept"


def test_what_a_wrapper_writes_as_it_dies_in_the_midst_of_a_write_comes_before_the_next_one(
    client: Any, key: str
) -> None:
    def progress(_: int) -> None:
        wrappers.clear()

    wrappers: list[io.TextIOWrapper] = []
    payload = b"x" * 12 * MIB
    with writer(client, key, max_concurrency=1, equal_parts=True, progress=progress) as stream:
        wrappers.append(io.TextIOWrapper(Shared(stream)))
        wrappers[0].write("held back")
        stream.write(payload)
        assert wrappers == []
        stream.write(b"the next one")
    assert content(client, key) == payload + b"held back" + b"the next one"


def test_a_failure_while_that_is_taken_which_a_dying_wrapper_wrote_publishes_nothing(
    client: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise Boom

    stream = writer(client, key)
    wrapper = io.BufferedWriter(cast(io.RawIOBase, Shared(stream)), MIB)
    wrapper.write(data(MIB - 1))
    del wrapper
    with monkeypatch.context() as patch, pytest.raises(Boom):
        patch.setattr(stream._upload.pipeline, "poll", fail)
        stream.write(b"the next one")
    with pytest.raises(AbortedError):
        stream.close()
    assert content(client, key) is None


def test_after_a_wrapper_that_died_in_the_midst_of_a_write_nothing_more_is_taken(client: Any, key: str) -> None:
    def progress(_: int) -> None:
        wrappers.clear()

    stream = writer(client, key, progress=progress)
    wrappers = [io.TextIOWrapper(stream)]
    stream.write(data(6 * MIB))
    while not stream._upload.pipeline.jobs.has_ended:
        time.sleep(0.01)
    with pytest.warns(ResourceWarning, match="the file around it"), pytest.raises(AbortedError):
        stream.write(data(MIB))
    with pytest.raises(ValueError, match="closed"):
        stream.write(b"small")
    join_aborts()
    assert uploads(client, key) == []
    assert content(client, key) is None


@pytest.mark.parametrize("on_error", ["abort", "keep"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Boom])
def test_what_interrupts_a_write_in_a_with_block_says_afterwards_that_nothing_was_published(
    client: Any, key: str, kind: type[BaseException], on_error: Literal["abort", "keep"]
) -> None:
    def progress(_: int) -> None:
        raise kind

    with (
        logged(),
        pytest.raises(kind) as caught,
        writer(client, key, max_concurrency=1, progress=progress, on_error=on_error) as stream,
    ):
        for number in range(5):
            stream.write(data(6 * MIB, number))
    said = f"s3://{BUCKET}/{key} was not published"
    assert [note for note in caught.value.__notes__ if note.startswith(said)]
    assert content(client, key) is None
    left = uploads(client, key)
    assert len(left) == (on_error == "keep")
    for upload_id in left:
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_the_error_of_a_write_is_not_told_that_it_was_in_flight(client: Any, key: str) -> None:
    Wire(client).on("UploadPart", refuse(403, "AccessDenied"))
    with logged() as log, pytest.raises(NotCommittedError) as caught, writer(client, key, max_concurrency=1) as stream:
        for number in range(5):
            stream.write(data(6 * MIB, number))
    assert not [told for told in (*log, *getattr(caught.value, "__notes__", [])) if "in flight" in told]


def test_a_detached_wrapper_leaves_the_writer_to_be_closed(client: Any, key: str) -> None:
    stream = writer(client, key)
    text = io.TextIOWrapper(stream)
    text.write("kept")
    text.detach()
    del text
    stream.close()
    assert content(client, key) == b"kept"


def test_a_writer_opened_and_closed_in_an_except_block_publishes(client: Any, key: str) -> None:
    try:
        raise Boom
    except Boom:
        with writer(client, key) as stream:
            stream.write(b"the report of a failure")
    assert content(client, key) == b"the report of a failure"


def test_the_exception_that_was_there_before_counts_when_it_is_raised_again(client: Any, key: str) -> None:
    def fail_again(error: Boom) -> None:
        raise error

    def report() -> None:
        try:
            raise Boom
        except Boom as error:
            with contextlib.closing(writer(client, key)) as stream:
                stream.write(b"half a report")
                fail_again(error)

    with pytest.raises(Boom):
        report()
    assert content(client, key) is None


def test_the_exception_that_was_there_before_counts_when_it_leaves_the_with_block(client: Any, key: str) -> None:
    def report() -> None:
        try:
            raise Boom
        except Boom:
            with writer(client, key) as stream:
                stream.write(b"half a report")
                raise

    with pytest.raises(Boom):
        report()
    assert content(client, key) is None


def test_an_exception_that_was_handled_does_not_count(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        try:
            raise Boom
        except Boom:
            stream.write(b"made good")
    assert content(client, key) == b"made good"


def test_commit_publishes_in_an_except_block(client: Any, key: str) -> None:
    stream = writer(client, key)
    stream.write(LARGE)
    try:
        raise Boom
    except Boom:
        result = stream.commit()
    assert result == stream.result == stream.commit()
    assert (result.size, result.parts) == (len(LARGE), 2)
    assert stream.closed
    assert content(client, key) == LARGE


@pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["small", "large"])
def test_each_wrapper_left_in_the_ordinary_way_publishes(client: Any, key: str, payload: bytes) -> None:
    with writer(client, key) as stream:
        stream.write(payload)
    assert content(client, key) == payload

    with io.TextIOWrapper(writer(client, key), encoding="latin-1", newline="") as text:
        text.write(payload[1:].decode("latin-1"))
    assert content(client, key) == payload[1:]

    with io.BufferedWriter(writer(client, key)) as buffered:
        buffered.write(payload[2:])
    assert content(client, key) == payload[2:]

    with writer(client, key) as stream, gzip.GzipFile(fileobj=stream, mode="wb") as packed:
        packed.write(payload)
    assert gzip.decompress(content(client, key) or b"") == payload

    with contextlib.closing(writer(client, key)) as stream:
        stream.write(payload[3:])
    assert content(client, key) == payload[3:]

    with contextlib.ExitStack() as stack:
        stack.enter_context(writer(client, key)).write(payload[4:])
    assert content(client, key) == payload[4:]


def test_abort_publishes_nothing_and_may_be_repeated(client: Any, key: str, before: bytes | None) -> None:
    stream = writer(client, key)
    stream.write(LARGE)
    stream.abort()
    stream.abort()
    stream.close()
    assert stream.closed
    assert content(client, key) == before
    assert uploads(client, key) == []
    with pytest.raises(ValueError, match="no result"):
        _ = stream.result


def test_abort_inside_a_with_block_publishes_nothing(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(LARGE)
        stream.abort()
    assert content(client, key) is None


def test_abort_after_publishing_changes_nothing(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        stream.write(SMALL)
    stream.abort()
    assert content(client, key) == SMALL
    assert stream.result.size == len(SMALL)


def test_an_abort_that_is_refused_leaves_the_first_error_standing(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"))
    with pytest.raises(Boom, match="first") as caught, writer(client, key) as stream:
        stream.write(LARGE)
        raise Boom("first")
    (upload_id,) = uploads(client, key)
    assert any(upload_id in note and "AccessDenied" in note for note in caught.value.__notes__)
    assert content(client, key) is None
    wire.on("AbortMultipartUpload", lambda request: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def test_abort_raises_what_it_could_not_remove(client: Any, key: str) -> None:
    wire = Wire(client)
    wire.on("AbortMultipartUpload", refuse(403, "AccessDenied"))
    stream = writer(client, key)
    stream.write(LARGE)
    with pytest.raises(NotCommittedError, match="could not be aborted") as caught:
        stream.abort()
    assert [caught.value.upload_id] == uploads(client, key)
    assert "AccessDenied" in str(caught.value)
    wire.on("AbortMultipartUpload", lambda request: None)
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=caught.value.upload_id)


def test_an_exception_that_takes_no_note_goes_on_all_the_same(client: Any, key: str) -> None:
    class Noteless(Boom):
        def add_note(self, note: str, /) -> None:
            raise TypeError(note)

    with pytest.raises(Noteless), writer(client, key) as stream:
        stream.write(LARGE)
        raise Noteless
    assert stream.closed
    assert content(client, key) is None
    assert uploads(client, key) == []


@pytest.mark.parametrize(
    "end", [MultipartUploadWriter.close, MultipartUploadWriter.commit, MultipartUploadWriter.prepare]
)
@pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("difference", [-1, 1])
def test_nothing_is_published_unless_exactly_so_many_bytes_were_written_as_were_demanded(
    client: Any, key: str, payload: bytes, difference: int, end: Callable[[MultipartUploadWriter], object]
) -> None:
    exact = len(payload) + difference
    stream = writer(client, key, exact_size=exact)
    with pytest.raises(IncompleteError, match=f"{len(payload):,} bytes were written, but exact_size is {exact:,}"):
        stream.write(memoryview(payload))
        end(stream)
    with contextlib.suppress(IncompleteError):
        stream.close()
    assert (stream.closed, content(client, key), uploads(client, key)) == (True, None, [])


@pytest.mark.parametrize("payload", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_has_the_size_that_was_demanded_is_published(client: Any, key: str, payload: bytes) -> None:
    with writer(client, key, exact_size=len(payload)) as stream:
        stream.write(payload)
    assert content(client, key) == payload


def test_what_is_too_long_is_refused_as_soon_as_a_long_write_shows_it(client: Any, key: str) -> None:
    stream = writer(client, key, exact_size=1000)
    with pytest.raises(IncompleteError, match="exact_size is 1,000"):
        stream.write(LARGE)
    with pytest.raises(IncompleteError):
        stream.write(SMALL)
    with pytest.raises(IncompleteError):
        stream.close()
    assert content(client, key) is None


def test_the_size_that_is_demanded_is_that_of_what_is_written_not_of_what_is_compressed(client: Any, key: str) -> None:
    with s3writer.open(f"s3://{BUCKET}/{key}", compression="gzip", client=client, exact_size=len(LARGE)) as stream:
        stream.write(LARGE)
    assert gzip.decompress(content(client, key) or b"") == LARGE
    with (
        pytest.raises(IncompleteError, match="6 bytes were written, but exact_size is 7"),
        s3writer.open(f"s3://{BUCKET}/{key}", "w", encoding="utf-16", client=client, exact_size=7) as text,
    ):
        text.write("ab")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"exact_size": -1}, "exact_size=-1 is out of its limits: 0 to 48.8 TiB"),
        ({"exact_size": 1.5}, "exact_size must be an int"),
        ({"exact_size": 5, "expected_size": 6}, "expected_size=6 and exact_size=5 differ"),
    ],
)
def test_an_impossible_exact_size_is_refused_by_name(client: Any, key: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        writer(client, key, **options)


#: They ask the writer nothing when they are made, so that the writer looks for them only if it has sent a part.
SILENT = {"bz2", "lzma", "tar"}
FORGOTTEN = pytest.mark.parametrize("name", WRAPPERS)


def forgotten(stream: MultipartUploadWriter, name: str) -> Any:
    """A wrapper that has taken bytes."""
    if name in SILENT:
        stream.write(LARGE)
    wrapper = WRAPPERS[name](stream)
    write(wrapper, b"all of it")
    return wrapper


@pytest.mark.parametrize(
    "end", [MultipartUploadWriter.close, MultipartUploadWriter.commit, MultipartUploadWriter.prepare]
)
@FORGOTTEN
@pytest.mark.filterwarnings(
    "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"
)  # GzipFile's, since 3.12
def test_nothing_is_published_while_a_wrapper_holds_bytes_back(
    client: Any, key: str, name: str, end: Callable[[MultipartUploadWriter], object]
) -> None:
    stream = writer(client, key)
    wrapper = forgotten(stream, name)
    with pytest.raises(IncompleteError, match="around its writer was not closed, and holds bytes back"):
        end(stream)
    assert (stream.closed, content(client, key), uploads(client, key)) == (True, None, [])
    with contextlib.suppress(ValueError):
        wrapper.close()
    assert content(client, key) is None


@FORGOTTEN
def test_a_wrapper_that_was_closed_keeps_nobody_from_publishing(client: Any, key: str, name: str) -> None:
    with writer(client, key) as stream:
        wrapper = forgotten(stream, name)
        wrapper.close()
    assert stream.result.size == len(content(client, key) or b"")


@pytest.mark.parametrize("name", ["text", "buffer", "text in a buffer"])
def test_a_wrapper_that_was_flushed_keeps_nobody_from_publishing(client: Any, key: str, name: str) -> None:
    with writer(client, key) as stream:
        wrapper = forgotten(stream, name)
        wrapper.flush()
    assert content(client, key) == b"all of it"


class Interrupted(io.BufferedWriter):
    """A signal's handler raises while it is flushed."""

    def flush(self) -> None:
        raise RuntimeError("the time limit")


def test_what_a_signal_s_handler_raises_while_a_wrapper_is_flushed_comes_out(client: Any, key: str) -> None:
    stream = writer(client, key)
    wrapper = Interrupted(stream)
    with pytest.raises(RuntimeError, match="the time limit"):
        stream.close()
    assert (stream.closed, content(client, key), uploads(client, key)) == (True, None, [])
    assert wrapper.closed


def test_a_wrapper_is_found_though_another_thread_was_writing_when_close_came(client: Any, key: str) -> None:
    def hang(_: Any) -> None:
        is_busy.set()
        goes_on.wait(30)

    is_busy, goes_on = threading.Event(), threading.Event()
    Wire(client).on("UploadPart", hang)
    stream = writer(client, key, max_concurrency=1)
    wrapper = WRAPPERS["buffer"](stream)
    write(wrapper, b"held back")
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(stream.write, data(18 * MIB))
        is_busy.wait(30)
        while not stream._one_call.is_busy:
            time.sleep(0.01)
        threading.Timer(0.3, goes_on.set).start()
        with pytest.raises(IncompleteError):
            stream.close()
    assert written.result() == 18 * MIB
    assert (stream.closed, content(client, key), uploads(client, key)) == (True, None, [])


def test_what_refused_a_part_is_raised_although_a_wrapper_holds_bytes_back_too(client: Any, key: str) -> None:
    def refuse_later(request: Any) -> Any:
        assert is_wrapped.wait(30)
        return refuse(403, "AccessDenied")(request)

    is_wrapped = threading.Event()
    Wire(client).on("UploadPart", refuse_later)
    stream = writer(client, key)
    stream.write(LARGE)
    wrapper = forgotten(stream, "text")
    is_wrapped.set()
    while not stream._upload.pipeline.jobs.failures:
        time.sleep(0.01)
    with pytest.raises(AccessDeniedError):
        stream.close()
    assert (wrapper.closed, content(client, key)) == (True, None)


class Renaming(gzip.GzipFile):
    """Keeps its file under another name."""

    @property
    def fileobj(self) -> Any:
        return self.target

    @fileobj.setter
    def fileobj(self, target: Any) -> None:
        self.target = target


@pytest.mark.parametrize("is_in_a_module", [False, True])
def test_a_subclass_that_keeps_the_writer_under_another_name_is_found(
    client: Any, key: str, is_in_a_module: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = writer(client, key)
    if is_in_a_module:
        monkeypatch.setitem(globals(), "known_to_the_module", stream)
    wrapper = Renaming(fileobj=stream, mode="wb")
    assert vars(wrapper)["target"] is stream
    with pytest.raises(IncompleteError, match="Renaming"):
        stream.close()
    assert content(client, key) is None


class Naming(io.TextIOWrapper):
    """Knows the writer by another attribute too."""


def test_a_wrapper_that_was_detached_keeps_nobody_from_publishing(client: Any, key: str) -> None:
    stream = writer(client, key)
    wrapper = Naming(stream, encoding="latin-1")
    wrapper.__dict__["writer"] = stream
    wrapper.write("all of it")
    wrapper.detach()
    stream.close()
    assert content(client, key) == b"all of it"


def test_a_log_handler_into_the_writer_that_was_closed_is_told_once_and_ends(client: Any, key: str) -> None:
    said: list[str] = []

    class IntoWriter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            stream.write(record.getMessage())

    stream = writer(client, key)
    stream.write(SMALL)
    stream.close()
    handler = IntoWriter()
    logging.getLogger("s3writer").addHandler(handler)
    for _ in range(2):
        with pytest.raises(ValueError, match="closed"):
            stream.write(b"late")
    logging.getLogger("s3writer").removeHandler(handler)
    assert said == [f"s3://{BUCKET}/{key} was published before these bytes came: it lacks them"]


def test_bytes_that_come_after_publishing_are_an_error_in_the_log_that_names_the_object(client: Any, key: str) -> None:
    with writer(client, key) as stream:
        wrapper = bz2.BZ2File(stream, "wb")
        wrapper.write(b"all of it")
    late = f"s3://{BUCKET}/{key} was published before these bytes came: it lacks them"
    with (
        logged() as log,
        pytest.warns(ResourceWarning, match="it lacks them"),
        pytest.raises(ValueError, match="closed"),
    ):
        wrapper.close()
    assert log == [late]
