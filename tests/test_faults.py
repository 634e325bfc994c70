"""Faults that have to come at one moment to do harm: a signal, a thread, an answer that was lost, another's hand."""

import _thread
import contextlib
import dataclasses
import gc
import inspect
import io
import itertools
import json
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

import s3writer
from s3writer import (
    AbortedError,
    AccessDeniedError,
    MultipartUploadWriter,
    NotCommittedError,
    OutcomeUnknownError,
    PartlyCommittedError,
    PendingUpload,
    S3WriterError,
    ThrottledError,
    UploadResult,
    segments,
)
from s3writer._upload import jobs
from s3writer.segments import Segment, SegmentedUpload, SegmentReceipt
from s3writer.testing import MemoryS3
from tests.helpers import MIB, Boom, data, logged, unfinished, writer
from tests.stores import BUCKET, Store
from tests.wire import Action, Wire, cut_after_sending, refuse
from tests.wrappers import WRAPPERS, write

SMALL, LARGE = data(1000), data(5 * MIB + 1)
PACKAGE = str(Path(s3writer.__file__).parent)


def alone(script: str, *arguments: str, timeout: int = 40) -> subprocess.CompletedProcess[str]:
    """The end of a process of its own that runs ``script``; a failure if it does not come."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)


SIGNED = """
import faulthandler, signal, sys, threading
import awscrt.auth
from s3writer import MultipartUploadWriter, list_uploads
from s3writer.segments import SegmentedUpload
from s3writer.testing import MemoryS3

class TimeLimit(Exception):
    pass

def stop(*_):
    raise TimeLimit("the time is up")

faulthandler.dump_traceback_later(20, exit=True)
operation, kind, act = sys.argv[1:]
number = signal.SIGINT if kind == "KeyboardInterrupt" else signal.SIGUSR1
signal.signal(number, signal.default_int_handler if kind == "KeyboardInterrupt" else stop)
small, large = b"small", bytes(6 * 1024**2)
s3 = MemoryS3("bucket")

def make(**options):
    return MultipartUploadWriter("bucket", "key", client=s3.client, **options)

def make_pending():
    stream = make()
    stream.write(large)
    return stream.prepare()

pending = make_pending() if "pending" in act or "resume" in act else None
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(10)  # or it would do the call, and nobody has told it of the profile
is_near, was_raised = threading.Event(), threading.Event()
s3.client.meta.events.register(f"before-sign.s3.{operation}", lambda **_: is_near.set())

def profile(frame, event, _):
    is_callback = frame.f_code.co_filename == awscrt.auth.__file__ and frame.f_code.co_name == "_on_complete"
    if event == "call" and is_callback and is_near.is_set() and not was_raised.is_set():
        was_raised.set()
        signal.pthread_kill(threading.main_thread().ident, number)

threading.setprofile(profile)
sys.setprofile(profile)
ended, said = "without an exception", ""
try:
    exec(compile(act, "act", "exec"))
except (KeyboardInterrupt, TimeLimit) as error:
    ended, said = type(error).__name__, " ".join(getattr(error, "__notes__", []))
sys.setprofile(None)
threading.setprofile(None)
assert was_raised.is_set()
if s3.objects:
    assert "published all the same" in said or "is not known" in said, said
if s3.unfinished and pending is None:
    assert "begun" in said or "could not be aborted" in said, said
print(ended)
"""
WRITE_AND_COMMIT = "with make() as stream: stream.write({})"
SIGNING = [
    ("PutObject", WRITE_AND_COMMIT.format("small")),
    ("HeadObject", "s3.lose_answer('PutObject'); " + WRITE_AND_COMMIT.format("small").replace("with", "\nwith")),
    ("CreateMultipartUpload", WRITE_AND_COMMIT.format("large")),
    ("UploadPart", WRITE_AND_COMMIT.format("large")),
    ("CompleteMultipartUpload", WRITE_AND_COMMIT.format("large")),
    ("AbortMultipartUpload", "stream = make(); stream.write(large); stream.abort()"),
    ("CompleteMultipartUpload", "pending.commit(client=s3.client)"),
    ("AbortMultipartUpload", "pending.abort(client=s3.client)"),
    ("ListParts", "MultipartUploadWriter.resume('bucket', 'key', pending.upload_id, client=s3.client)"),
    ("CreateMultipartUpload", "SegmentedUpload.begin('bucket', 'key', segments=2, client=s3.client)"),
    ("ListMultipartUploads", "list(list_uploads('bucket', client=s3.client))"),
]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "TimeLimit"])
@pytest.mark.parametrize(
    ("operation", "act"), SIGNING, ids=[f"{number}-{what[0]}" for number, what in enumerate(SIGNING)]
)
def test_a_signal_that_comes_while_a_request_is_signed_ends_the_call(operation: str, act: str, kind: str) -> None:
    pytest.importorskip("awscrt")
    ended = alone(SIGNED, operation, kind, act)
    assert (ended.returncode, ended.stdout) == (0, f"{kind}\n"), ended.stderr


def read_then(action: Action) -> Action:
    """The body has been read when ``action`` comes."""

    def read(request: AWSPreparedRequest) -> AWSResponse | None:
        while request.body.read(MIB):
            pass
        return action(request)

    return read


class Lost:
    """A client whose first attempts to send part 1 come to nothing, and that waits a while before it tries again."""

    def __init__(self, store: Store, attempt: Action, attempts: int = 1) -> None:
        self.client = store.client(retries={"mode": "standard", "total_max_attempts": 5})
        self.wire = Wire(self.client)
        self.is_waiting = threading.Event()
        self._attempt = attempt
        self._left = attempts
        self.wire.on("UploadPart", self._send)
        self.client.meta.events.register_first("needs-retry.s3.UploadPart", self._wait)

    def _send(self, request: AWSPreparedRequest) -> AWSResponse | None:
        if "partNumber=1&" not in f"{request.url}&":
            assert self.is_waiting.wait(60)
            return refuse(403, "AccessDenied")(request)
        self._left -= 1
        return self._attempt(request) if self._left >= 0 else None

    def _wait(self, response: tuple[Any, dict[str, Any]] | None, **_: Any) -> float | None:
        """Called by botocore after each attempt, to learn whether to wait and try again."""
        if response is not None and response[0].status_code < 500:
            return None
        if self._left > 0:
            return 0.0
        self.is_waiting.set()
        return 1.5


LOST = {
    "the answer was lost": cut_after_sending,
    "an internal error": read_then(refuse(500, "InternalError")),
    "a gateway's error": read_then(refuse(503, "")),
}


def told_of(caplog: pytest.LogCaptureFixture, upload_id: str) -> bool:
    """Whether a warning names the upload."""
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    return any(upload_id in message for message in warnings)


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("attempt", LOST.values(), ids=LOST)
def test_an_abort_that_stops_the_retry_of_a_part_looks_once_more_later_and_names_the_upload(
    store: Store, key: str, caplog: pytest.LogCaptureFixture, attempt: Action, attempts: int
) -> None:
    lost = Lost(store, attempt, attempts)
    with pytest.raises(Boom), writer(lost.client, key) as stream:
        stream.write(LARGE)
        assert lost.is_waiting.wait(60)
        (upload,) = unfinished(store.client())
        raise Boom
    assert lost.wire.sent.count("AbortMultipartUpload") >= 2
    assert told_of(caplog, upload["UploadId"])


@pytest.mark.parametrize("on_error", ["abort", "keep"])
def test_an_abort_on_demand_that_stops_the_retry_of_a_part_looks_once_more_later_and_names_the_upload(
    store: Store, key: str, caplog: pytest.LogCaptureFixture, on_error: str
) -> None:
    lost = Lost(store, cut_after_sending)
    stream = writer(lost.client, key, on_error=on_error)
    stream.write(LARGE)
    assert lost.is_waiting.wait(60)
    (upload,) = unfinished(store.client())
    stream.abort()
    assert lost.wire.sent.count("AbortMultipartUpload") >= 2
    assert told_of(caplog, upload["UploadId"])


def test_a_refused_part_that_stops_the_retry_of_another_looks_once_more_later_and_names_the_upload(
    store: Store, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Lost(store, cut_after_sending)
    with pytest.raises(AccessDeniedError), writer(lost.client, key) as stream:
        stream.write(LARGE)
        assert lost.is_waiting.wait(60)
        (upload,) = unfinished(store.client())
        stream.write(LARGE)
    assert lost.wire.sent.count("AbortMultipartUpload") >= 2
    assert told_of(caplog, upload["UploadId"])


class TimeLimit(RuntimeError):
    """What a signal's handler raises in many a task queue."""


def is_ours(frame: FrameType | None) -> bool:
    """Whether it runs code of the package."""
    return frame is not None and frame.f_code.co_filename.startswith(PACKAGE)


def is_of(frame: FrameType | None, module: ModuleType) -> bool:
    """Whether it runs code of that module."""
    return frame is not None and frame.f_code.co_filename == module.__file__


def is_in_the_package(frame: FrameType, _: object) -> bool:
    """Whether it runs the package's code, or a context manager for it."""
    return is_ours(frame.f_back if is_of(frame, contextlib) else frame)


def is_in_a_start(frame: FrameType | None, called: object) -> bool:
    """Whether it runs what the package has called to make a thread or to start it."""
    if is_ours(frame):
        return called is _thread.start_new_thread
    if not is_of(frame, threading):
        return False
    while is_of(frame, threading):
        frame = frame.f_back if frame else None
    return is_ours(frame)


def is_raised_as(raised: BaseException | None, error: BaseException) -> bool:
    """Whether ``error`` has come through. Python's own locks may trip over a signal, and then say that instead."""
    return raised is error or (
        raised is not None and str(raised) == "release unlocked lock" and raised.__context__ is error
    )


class Strike:
    """Raises ``error`` at the ``nth`` place where Python may call a signal's handler, once."""

    def __init__(self, error: BaseException, nth: int, is_place: Callable[[FrameType, object], bool]) -> None:
        self.came = False
        self.was_lost = False
        self._error = error
        self._left = nth
        self._is_place = is_place

    def __enter__(self) -> "Strike":
        gc.disable()  # what is collected must not be what the signal hits
        self._hook, sys.unraisablehook = sys.unraisablehook, self._lose
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        sys.unraisablehook = self._hook
        gc.enable()

    def _lose(self, unraisable: Any) -> None:
        """A finaliser was hit: Python shows what is raised there, and goes on."""
        self.was_lost = self.was_lost or unraisable.exc_value is self._error

    def _profile(self, frame: FrameType, event: str, called: object) -> None:
        if getattr(called, "__name__", "") == "__enter__":
            return  # since Python 3.14 an interrupt may come here, and then Python's own lock is held for ever
        if event in {"call", "c_return"} and self._is_place(frame, called):
            self._left -= 1
            if not self._left:
                sys.setprofile(None)
                self.came = True
                raise self._error


def said_by(error: BaseException | None) -> str:
    """What it says, its notes included."""
    return "" if error is None else "\n".join([str(error), *getattr(error, "__notes__", ())])


def wait_for_threads(stuck: set[threading.Thread]) -> None:
    """Until no thread of the package sends anything any more, but for those that ``stuck`` in their start."""
    for thread in threading.enumerate():
        if thread.name.startswith("s3writer") and thread not in stuck:
            for _ in range(50):
                try:
                    thread.join(60)
                    break
                except RuntimeError:  # it has not started yet, or never will
                    time.sleep(0.01)
            else:
                stuck.add(thread)


def write_while_starts_are_interrupted(kind: type[BaseException], *, only_of_parts: bool) -> None:
    """In a process of its own: a thread whose start was interrupted at the wrong moment stays for ever."""
    jobs._IDLE_SECONDS = 0.0  # or a part would get the thread that began the upload
    s3 = MemoryS3(BUCKET)
    wire = Wire(s3.client)
    stuck: set[threading.Thread] = set()
    for nth in itertools.count(1):
        before = len(wire.sent)
        stream = writer(s3.client, f"{nth}")
        error = kind("the time is up")

        def is_place(frame: FrameType, called: object, stream: MultipartUploadWriter = stream) -> bool:
            is_of_a_part = stream._upload.pipeline.jobs.running > 0
            return (is_of_a_part or not only_of_parts) and is_in_a_start(frame, called)

        raised: BaseException | None = None
        with logged():
            strike = Strike(error, nth, is_place)
            try:
                with strike:
                    stream.write(LARGE)
            except BaseException as caught:
                raised = caught
            in_flight = [stream.parts_in_flight]
            if not strike.came:
                stream.abort()
            with suppress(S3WriterError):
                stream.close()
            in_flight.append(stream.parts_in_flight)
            wait_for_threads(stuck)
            in_flight.append(stream.parts_in_flight)
        parts = [url for url in (str(request.url) for request in wire.requests[before:]) if "partNumber=" in url]
        if strike.came and not strike.was_lost:
            assert is_raised_as(raised, error), (nth, raised)
        else:
            assert raised is None, (nth, raised)
        assert len(parts) == len(set(parts)), (nth, parts)
        assert min(in_flight) >= 0, (nth, in_flight)
        assert s3.objects == {}, nth
        if only_of_parts or "begun" not in said_by(raised):
            assert not [url for url in s3.unfinished if url.endswith(f"/{nth}")], nth
        if not strike.came:
            assert nth > 1
            return


@pytest.mark.parametrize("kind", ["TimeLimit", "RuntimeError", "KeyboardInterrupt"])
@pytest.mark.parametrize("only_of_parts", [True, False], ids=["of a part", "of any"])
@pytest.mark.traces_processes
def test_a_signal_that_comes_while_a_thread_is_started_reaches_whoever_writes(kind: str, only_of_parts: bool) -> None:
    script = f"""
import sys
sys.path[:] = {sys.path!r}
from tests.test_faults import TimeLimit, write_while_starts_are_interrupted
write_while_starts_are_interrupted({kind}, only_of_parts={only_of_parts})
"""
    ended = alone(script, timeout=100)
    assert ended.returncode == 0, ended.stderr


AGAIN: dict[str, Callable[[MultipartUploadWriter], object]] = {
    "close": MultipartUploadWriter.close,
    "commit": MultipartUploadWriter.commit,
    "abort": MultipartUploadWriter.abort,
    "write": lambda stream: stream.write(b"more"),
}


@pytest.mark.parametrize(
    ("payload", "first", "kind", "again"),
    [
        (SMALL, "close", KeyboardInterrupt, AGAIN["close"]),
        (SMALL, "close", TimeLimit, AGAIN["commit"]),
        (SMALL, "commit", TimeLimit, AGAIN["write"]),
        (SMALL, "commit", KeyboardInterrupt, AGAIN["abort"]),
        (data(5 * MIB + 1), "close", KeyboardInterrupt, AGAIN["close"]),
        (data(5 * MIB + 1), "close", TimeLimit, AGAIN["write"]),
    ],
    ids=["put-close", "put-commit", "put-write", "put-abort", "complete-close", "complete-write"],
)
@pytest.mark.no_cover
def test_a_call_after_an_interrupt_never_says_of_an_object_that_is_there_that_it_is_not(
    payload: bytes, first: str, kind: type[BaseException], again: Callable[[MultipartUploadWriter], object]
) -> None:
    s3 = MemoryS3(BUCKET)
    step = 1 if payload is SMALL else 3
    for nth in itertools.count(random.randint(1, step), step):
        stream = writer(s3.client, f"{nth}")
        stream.write(payload)
        gc.collect(0)
        later: Exception | None = None
        with logged() as messages:
            strike = Strike(kind("the time is up"), nth, is_in_the_package)
            with suppress(KeyboardInterrupt, TimeLimit, S3WriterError), strike:
                AGAIN[first](stream)
            try:
                again(stream)
            except Exception as error:
                later = error
        if f"s3://{BUCKET}/{nth}" in s3.objects:
            assert not isinstance(later, NotCommittedError)
            assert not [said for said in (said_by(later), *messages) if "not published" in said]
        with logged():
            stream.abort()
        if not strike.came:
            assert nth > 5
            return


@pytest.mark.parametrize("event", ["before-send.s3.PutObject", "needs-retry.s3.PutObject"])
@pytest.mark.parametrize("checksum", ["auto", None])
def test_a_lost_answer_is_noticed_though_another_thread_used_the_client_while_the_writer_was_made(
    monkeypatch: pytest.MonkeyPatch, event: str, checksum: str | None
) -> None:
    from botocore import hooks

    s3 = MemoryS3(BUCKET)
    is_inside, may_go_on = threading.Event(), threading.Event()
    search = hooks._PrefixTrie.prefix_search

    def search_slowly(handlers: Any, name: str) -> Any:
        found = search(handlers, name)
        if name == event and threading.current_thread() is other:
            is_inside.set()
            assert may_go_on.wait(60)
        return found

    monkeypatch.setattr(hooks._PrefixTrie, "prefix_search", search_slowly)
    other = threading.Thread(target=s3.client.put_object, kwargs={"Bucket": BUCKET, "Key": "other", "Body": b"theirs"})
    other.start()
    assert is_inside.wait(60)
    with writer(s3.client, "first", checksum=checksum) as stream:
        stream.write(SMALL)
    may_go_on.set()
    other.join()
    s3.lose_answer("PutObject")
    with writer(s3.client, "key", checksum=checksum) as stream:
        stream.write(SMALL)
    assert stream.result.size == len(s3.objects[f"s3://{BUCKET}/key"]) == len(SMALL)


def handlers(client: Any) -> dict[str, list[Any]]:
    """What the client calls, by the event."""
    emitter = client.meta.events
    emitter = getattr(emitter, "_emitter", emitter)
    events = (
        "provide-client-params before-parameter-build before-endpoint-resolution before-call request-created "
        "choose-signer before-sign before-send response-received before-parse after-call after-call-error needs-retry"
    )
    operations = client.meta.service_model.operation_names
    names = [f"{event}.s3.{operation}" for event in events.split() for operation in operations]
    return {name: list(emitter._handlers.prefix_search(name)) for name in names}


def write_and_fail(stream: MultipartUploadWriter) -> None:
    with suppress(Boom), stream:
        stream.write(LARGE)
        raise Boom


def write_all(payload: bytes) -> Callable[[MultipartUploadWriter], None]:
    def write(stream: MultipartUploadWriter) -> None:
        with stream:
            stream.write(payload)

    return write


def prepare_and_commit(stream: MultipartUploadWriter, client: Any) -> None:
    stream.write(LARGE)
    stream.prepare().commit(client=client)


USES: dict[str, Callable[[MultipartUploadWriter, Any], None]] = {
    "a small object": lambda stream, client: write_all(SMALL)(stream),
    "an empty object": lambda stream, client: write_all(b"")(stream),
    "a large object": lambda stream, client: write_all(LARGE)(stream),
    "an upload that failed": lambda stream, client: write_and_fail(stream),
    "a pending upload": prepare_and_commit,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_client_that_a_writer_has_used_has_seven_handlers_more_that_leave_others_calls_alone(
    use: Callable[[MultipartUploadWriter, Any], None],
) -> None:
    s3 = MemoryS3(BUCKET)
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(s3={"addressing_style": "path"}),
    )
    s3.attach(client)
    client.meta.events.register("before-send.s3", lambda **_: None)
    before = handlers(client)
    with logged():
        for number in range(3):
            use(writer(client, f"key {number}"), client)
    added = {
        name: [handler for handler in found if handler not in before[name]]
        for name, found in handlers(client).items()
        if found != before[name]
    }
    told = {
        "before-call": ("PutObject", "UploadPart"),
        "before-send": ("PutObject", "UploadPart"),
        "needs-retry": ("PutObject", "CreateMultipartUpload", "CompleteMultipartUpload"),
    }
    assert set(added) == {f"{event}.s3.{name}" for event, names in told.items() for name in names}
    another = {"body": b"another one's", "context": {"checksum": "CRC32"}}
    for ours in added.values():
        (handler,) = ours
        assert handler(request=SimpleNamespace(body=b"another one's"), params=another, attempts=1) is None
    assert another["context"] == {"checksum": "CRC32"}


PYTHON_QUEUE = """
import io, queue, sys
queue.SimpleQueue = queue._PySimpleQueue
import boto3
from s3writer import AccessDeniedError, MultipartUploadWriter
from s3writer.testing import MemoryS3

class Boom(Exception):
    pass

s3 = MemoryS3("bucket")
stream = MultipartUploadWriter("bucket", "key", client=s3.client)
"""
ENDINGS = {
    "an exception": """
try:
    with stream:
        stream.write(bytes(6 * 1024**2))
        raise Boom
except Boom as error:
    print([note for note in error.__notes__ if "could not be aborted" in note or "left" in note])
""",
    "Ctrl-C": """
try:
    with stream:
        stream.write(bytes(6 * 1024**2))
        raise KeyboardInterrupt
except KeyboardInterrupt as error:
    print([note for note in error.__notes__ if "could not be aborted" in note or "left" in note])
""",
    "an abort on demand": """
stream.write(bytes(6 * 1024**2))
stream.abort()
print([])
""",
    "a part that was refused": """
s3.refuse("UploadPart", "AccessDenied", nth=2)
try:
    with stream:
        stream.write(bytes(20 * 1024**2))
except AccessDeniedError as error:
    print(getattr(error, "__notes__", []))
""",
    "a commit that was refused": """
s3.refuse("CompleteMultipartUpload", "AccessDenied")
try:
    with stream:
        stream.write(bytes(6 * 1024**2))
except AccessDeniedError as error:
    print(getattr(error, "__notes__", []))
""",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_where_the_queue_is_python_s_own_what_failed_goes_on_as_itself_and_nothing_is_left(ending: str) -> None:
    ended = alone(PYTHON_QUEUE + ending + "assert (s3.objects, s3.unfinished) == ({}, [])")
    assert (ended.returncode, ended.stdout) == (0, "[]\n"), ended.stderr
    assert "could not be aborted" not in ended.stderr


PRODUCED = [random.Random(number).randbytes(MIB) for number in range(20)]


def produce(wrapper: Any) -> None:
    for piece in PRODUCED:
        write(wrapper, piece)


def write_until_it_fails(stream: MultipartUploadWriter) -> None:
    for _ in range(50):
        produce(stream)


Wrap = Callable[[Any], Any]
FIRST = pytest.mark.parametrize(
    ("code", "kind"), [("AccessDenied", AccessDeniedError), ("SlowDown", ThrottledError)], ids=["denied", "slow down"]
)
WRAPPED = pytest.mark.parametrize("wrap", [lambda stream: stream, *WRAPPERS.values()], ids=["nothing", *WRAPPERS])


@contextmanager
def refused(code: str) -> Iterator[tuple[MemoryS3, MultipartUploadWriter]]:
    """A writer whose first part is refused, and whose producer learns of it at the next one."""
    with MemoryS3(BUCKET) as s3:
        s3.refuse("UploadPart", code, nth=1)
        with logged():
            yield s3, MultipartUploadWriter(BUCKET, "key", max_concurrency=1)
    assert (s3.objects, s3.unfinished) == ({}, [])


@WRAPPED
@FIRST
@pytest.mark.no_cover
def test_what_leaves_the_blocks_of_a_writer_and_its_wrapper_is_what_refused_the_part(
    wrap: Wrap, code: str, kind: type[S3WriterError]
) -> None:
    with refused(code) as (_, stream), pytest.raises(kind), stream, wrap(stream) as wrapper:
        produce(wrapper)


@WRAPPED
@FIRST
@pytest.mark.no_cover
def test_what_leaves_the_block_of_a_wrapper_alone_is_what_refused_the_part(
    wrap: Wrap, code: str, kind: type[S3WriterError]
) -> None:
    with refused(code) as (_, stream), pytest.raises(kind), ExitStack() as stack:
        stack.callback(stream.close)
        produce(stack.enter_context(wrap(stream)))


@WRAPPED
@FIRST
@pytest.mark.no_cover
def test_who_has_caught_what_refused_the_part_and_goes_on_meets_it_again(
    wrap: Wrap, code: str, kind: type[S3WriterError]
) -> None:
    with refused(code) as (_, stream), pytest.raises(kind), stream, wrap(stream) as wrapper:
        with pytest.raises(OSError):
            for _ in range(50):
                produce(wrapper)
        produce(wrapper)


@FIRST
def test_each_later_call_of_a_writer_whose_part_was_refused_raises_what_refused_it(
    code: str, kind: type[S3WriterError]
) -> None:
    calls: list[Callable[[MultipartUploadWriter], object]] = [
        lambda stream: stream.write(b"short"),
        lambda stream: stream.write("text"),
        lambda stream: stream.write(bytearray(6 * MIB)),
        MultipartUploadWriter.commit,
        MultipartUploadWriter.prepare,
        MultipartUploadWriter.close,
    ]
    for call in calls:
        with refused(code) as (_, stream):
            with pytest.raises(kind):
                write_until_it_fails(stream)
            with pytest.raises(kind) as again:
                call(stream)
            assert (again.value.bucket, again.value.key, again.value.upload_id) == (BUCKET, "key", None)
            with suppress(kind):
                stream.close()
            stream.close()


def test_an_error_of_two_types_survives_pickling_with_both() -> None:
    with refused("AccessDenied") as (_, stream):
        with pytest.raises(AccessDeniedError) as first:
            write_until_it_fails(stream)
        with pytest.raises(AccessDeniedError) as again:
            stream.close()
    revived = pickle.loads(pickle.dumps(again.value))
    assert (type(revived), str(revived)) == (type(again.value), str(again.value))
    assert isinstance(revived, AbortedError)
    assert not isinstance(first.value, AbortedError)


def test_a_failure_of_no_special_type_is_followed_by_an_aborted_error() -> None:
    with refused("InternalError") as (_, stream):
        with pytest.raises(NotCommittedError) as first:
            write_until_it_fails(stream)
        with pytest.raises(AbortedError) as again:
            stream.close()
    assert type(again.value) is AbortedError
    assert again.value.__cause__ is first.value


def test_a_failure_that_is_none_of_s3_s_is_the_cause_of_what_later_calls_raise() -> None:
    def progress(_: int) -> None:
        raise Boom("the first failure")

    with MemoryS3(BUCKET) as s3, logged():
        stream = MultipartUploadWriter(BUCKET, "key", max_concurrency=1, progress=progress)
        with pytest.raises(Boom) as first:
            write_until_it_fails(stream)
        for call in (lambda: stream.write(b"more"), stream.close):
            with pytest.raises(AbortedError) as later:
                call()
            assert later.value.__cause__ is first.value
    assert (s3.objects, s3.unfinished) == ({}, [])


UNCAUGHT = """
import sys
import boto3
from s3writer import MultipartUploadWriter
from s3writer.testing import MemoryS3

with MemoryS3("other"):
    with MultipartUploadWriter("bucket", "key") as stream:
        stream.write(bytes(int(sys.argv[1])))
"""


@pytest.mark.parametrize("size", [1000, 6 * MIB, 30 * MIB])
def test_the_traceback_of_a_bucket_that_is_not_there_is_short(size: int) -> None:
    ended = alone(UNCAUGHT, str(size))
    lines = ended.stderr.rstrip().split("\n")
    frames = [line for line in lines if line.lstrip().startswith("File ")]
    assert ended.returncode == 1
    assert lines[-1].startswith("s3writer.BucketNotFoundError: ")
    assert len(lines) <= 30
    assert len([frame for frame in frames if PACKAGE + os.sep in frame]) <= 5
    assert [line for line in lines if line.startswith("botocore.") and "NoSuchBucket" in line]
    assert not [frame for frame in frames if "botocore" in frame]


PUBLIC = [
    *[("s3writer", getattr(s3writer, name)) for name in s3writer.__all__],
    *[("s3writer.segments", getattr(segments, name)) for name in segments.__all__],
    ("s3writer.testing", MemoryS3),
]


@pytest.mark.parametrize(("module", "thing"), PUBLIC, ids=[f"{module}.{thing.__name__}" for module, thing in PUBLIC])
def test_what_is_public_says_that_it_is_of_the_module_from_which_it_is_imported(module: str, thing: Any) -> None:
    assert inspect.isclass(thing) or inspect.isfunction(thing)
    assert thing.__module__ == module
    assert getattr(sys.modules[module], thing.__qualname__) is thing


@pytest.mark.parametrize(
    "kind", [thing for _, thing in PUBLIC if inspect.isclass(thing) and issubclass(thing, BaseException)]
)
def test_a_traceback_names_an_error_as_it_is_imported(kind: type[S3WriterError]) -> None:
    (shown,) = traceback.format_exception_only(kind("it failed", "bucket", "key"))
    assert shown.startswith(f"s3writer.{kind.__name__}: ")


PENDING = (
    '{"format": 1, "bucket": "bucket", "key": "Gr\\u00fc\\u00dfe/k", "upload_id": "4932e4c5a8bb4700b6787e60defb59e7", '
    '"size": 6291456, "parts": [{"number": 1, "size": 5242880, "etag": "\\"84853d5214181f486f99753db525f56f\\"", '
    '"checksums": {}}, {"number": 2, "size": 1048576, "etag": "\\"9c05ba8ef69c303d97fa79366befbb9b\\"", '
    '"checksums": {}}], "checksum": null, "token": "491795b2c8434bb882b98d00713fc681", "exclusive": false, '
    '"s3_arguments": {}}'
)
PENDING_EXCLUSIVE = (
    '{"format": 1, "bucket": "bucket", "key": "Gr\\u00fc\\u00dfe/k", "upload_id": "6776d45e9fec48baa529607050e92c6b", '
    '"size": 6291456, "parts": [{"number": 1, "size": 5242880, "etag": "\\"84853d5214181f486f99753db525f56f\\"", '
    '"checksums": {"ChecksumCRC32": "OVE+Xw=="}}, {"number": 2, "size": 1048576, '
    '"etag": "\\"9c05ba8ef69c303d97fa79366befbb9b\\"", "checksums": {"ChecksumCRC32": "kV/6kg=="}}], '
    '"checksum": "CRC32:Dc9gUw==", "token": null, "exclusive": true, "s3_arguments": {"RequestPayer": "requester"}}'
)
SEGMENTED = (
    '{"bucket": "bucket", "key": "k", "upload_id": "42f3294966e148eaa941d1967d04d978", "segments": 2, '
    '"part_size": 5242880, "expected_size": null, "checksum": "CRC32", "token": "4fe0f811e81c4b968d61087e52c85b97", '
    '"exclusive": false, "s3_arguments": {}}'
)
SEGMENTED_EXCLUSIVE = (
    '{"bucket": "bucket", "key": "k", "upload_id": "b48a22f378114962b263bf57fe2d7155", "segments": 3, '
    '"part_size": 5242880, "expected_size": 10000000000, "checksum": null, "token": null, "exclusive": true, '
    '"s3_arguments": {"RequestPayer": "requester"}}'
)
SHORT_RECEIPT = (
    '{"upload_id": "42f3294966e148eaa941d1967d04d978", "number": 0, "parts": [], "head": "c2hvcnQ=", "tail": ""}'
)
LONG_RECEIPT = (
    '{"upload_id": "42f3294966e148eaa941d1967d04d978", "number": 1, "parts": [{"number": 5001, "size": 5242880, '
    '"etag": "\\"dce0953df758f77f153d58955d66f03e\\"", "checksums": {"ChecksumCRC32": "M8VSDg=="}}], '
    '"head": "aGVhZA==", "tail": "dGFpbA=="}'
)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (PendingUpload, PENDING),
        (PendingUpload, PENDING_EXCLUSIVE),
        (SegmentedUpload, SEGMENTED),
        (SegmentedUpload, SEGMENTED_EXCLUSIVE),
        (SegmentReceipt, SHORT_RECEIPT),
        (SegmentReceipt, LONG_RECEIPT),
    ],
    ids=["pending", "pending, exclusive", "segmented", "segmented, exclusive", "short receipt", "long receipt"],
)
def test_what_an_older_version_has_written_as_json_is_read(kind: Any, text: str) -> None:
    read = kind.from_json(text)
    said = json.loads(text)
    known = {name: said[name] for name in said if name not in {"format", "parts", "head", "tail"}}
    assert {name: getattr(read, name) for name in known} == known
    assert [dataclasses.asdict(part) for part in getattr(read, "parts", ())] == said.get("parts", [])
    assert json.loads(read.to_json()) == said
    assert kind.from_json(read.to_json()) == read


def test_the_ends_of_a_segment_that_an_older_version_has_written_as_json_are_read() -> None:
    short, long = SegmentReceipt.from_json(SHORT_RECEIPT), SegmentReceipt.from_json(LONG_RECEIPT)
    assert (short.head, short.tail, short.size) == (b"short", b"", 5)
    assert (long.head, long.tail, long.size) == (b"head", b"tail", 5 * MIB + 8)


class Named(pickle.Unpickler):
    """Keeps the names of what it loads."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.names: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.names.add((module, name))
        return super().find_class(module, name)


RESULT = UploadResult(bucket="bucket", key="key", etag='"e"', version_id=None, size=1, parts=1, checksum=None)
SEGMENT = Segment("bucket", "key", "upload", number=0, first=1, parts=10)
UNKNOWN = OutcomeUnknownError("who knows", "bucket", "key", "upload", "token", 3, [{"PartNumber": 1, "ETag": "e"}])
PARTLY = PartlyCommittedError("some", "bucket", "key", published=[RESULT], failed=PendingUpload.from_json(PENDING))
PICKLED = {
    "an error": AccessDeniedError("it failed", "bucket", "key"),
    "an unknown outcome": UNKNOWN,
    "some of several": PARTLY,
    "a result": RESULT,
    "a pending upload": PendingUpload.from_json(PENDING_EXCLUSIVE),
    "a segment": SEGMENT,
    "a segmented upload": SegmentedUpload.from_json(SEGMENTED_EXCLUSIVE),
    "a segment's receipt": SegmentReceipt.from_json(LONG_RECEIPT),
}


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("thing", PICKLED.values(), ids=PICKLED)
def test_a_pickle_names_nothing_of_the_package_that_is_not_public(thing: Any, protocol: int) -> None:
    reader = Named(io.BytesIO(pickle.dumps(thing, protocol)))
    again = reader.load()
    assert type(again) is type(thing)
    if isinstance(thing, BaseException):
        assert (str(again), vars(again)) == (str(thing), vars(thing))
    else:
        assert again == thing
    modules = {module for module, _ in reader.names if module.startswith("s3writer")}
    assert type(thing).__module__ in modules
    assert modules <= {"s3writer", "s3writer.segments", "s3writer.pending"}
