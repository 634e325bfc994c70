"""Ctrl-C at each place of the package where Python may deliver it: what became of the upload is true, and told.

A *scenario* makes something ready and returns what is to be interrupted. It is run once to its end, which shows what
may be published, and then again and again, under a key of its own each time, with an interrupt one place further on.
"""

import ast
import contextlib
import datetime as dt
import functools
import gc
import inspect
import io
import itertools
import operator
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

import s3writer
from s3writer import (
    AbortedError,
    MultipartUploadWriter,
    NotCommittedError,
    PendingUpload,
    abort_uploads,
    add_cleanup_rule,
    cleanup_rules,
    commit_all,
    list_uploads,
)
from s3writer._upload import cleanup, jobs, plan
from s3writer._upload import resume as resume_module
from s3writer.segments import SegmentedUpload, SegmentWriter, write_segments
from s3writer.segments import writer as segment_writer
from s3writer.testing import MemoryS3, rules
from tests.helpers import MIB, Boom, data, logged, writer
from tests.stores import BUCKET
from tests.wire import Raw

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of writers that are dropped
    pytest.mark.usefixtures("database"),
]

#: Here S3's smallest part has this size: thousands of runs move less so.
PART_BYTES = 2 * MIB
SMALL, LARGE = data(1000), data(PART_BYTES + 1)
PART = LARGE[:PART_BYTES]

PACKAGE = Path(str(s3writer.__file__)).parent
#: What is no part of an upload: the store for tests, the command line, and Django's commands.
ASIDE = {"testing", "cli", "__main__.py", "management"}
FILES = {str(file) for file in PACKAGE.rglob("*.py") if ASIDE.isdisjoint(file.relative_to(PACKAGE).parts)}
#: Files with functions that no scenario can interrupt, and why.
UNREACHED = {
    **dict.fromkeys(
        ("aio/opening.py", "aio/threads.py", "aio/turns.py", "aio/writer.py"),
        "an event loop runs it: tests/test_aio.py cancels each await",
    ),
    **dict.fromkeys(
        ("fsspec/file_system.py", "fsspec/files.py", "fsspec/options.py", "fsspec/together.py"),
        "it needs s3fs: tests/s3w/interrupts.py interrupts it",
    ),
    "_fork.py": "it is called when modules are imported",
    "django/options.py": "it reads settings, before there is an upload",
    "__init__.py": "it looks up __version__",
    "_file/bar.py": "it is called by a command that shows a bar",
    "_s3/attempts.py": "calls are made in threads",
    "_s3/certificates.py": "connections are made in threads; a client is prepared for its first writer only",
    "_s3/body.py": "calls are made in threads",
    "_s3/codes.py": "errors are translated in threads",
    "_s3/faults.py": "errors are translated in threads",
}
#: An exception that comes while a wrapper's own ``close`` calls this, before it closes the writer, is kept by C code,
#: which shows it to nobody before the writer has published. docs/close.md tells of it.
UNSEEN = ("WriteOnly.flush", "WriteOnly.check_open")

#: Python calls signal handlers when a function begins, and when one that is written in C has ended; what they raise in
#: a finaliser is lost. A generator is resumed also to be thrown away, and then no handler is called.
EVENTS = {"call", "c_return"}
FINALISERS = {"__del__"}

#: Who reads that, with a URL, looks for an upload under that key.
HINTS = ("may have begun", "unfinished upload", "is not known", "may be left", "could not be aborted")
#: And who reads that looks for the object.
PUBLISHED = ("published all the same", "is not known", "were published before", "published: ")
#: So long a thread may take that goes on when its writer is gone.
THREAD_SECONDS = 30.0


class TimeLimitError(ValueError, RuntimeError):
    """What a task queue's signal handler may raise; a kind of what `write` raises itself, and of what threads raise
    that can't be started, but neither of these.
    """


KINDS = [KeyboardInterrupt, TimeLimitError]
#: As in `make soak`.
IS_COMPLETE = os.environ.get("S3WRITER_SWEEP") == "all"
MOST_PLACES = 48
INTERRUPTS = pytest.mark.parametrize("kind", KINDS)

Act = Callable[[], object]


class Interrupter:
    """Raises ``kind`` once, at the first place that is not ``done`` yet, and adds it. A place that comes again and
    again in one run, as in a loop, is another one each time, up to ``times``. None as ``kind`` raises nothing.
    """

    def __init__(self, kind: type[BaseException] | None, done: set[object], times: int = 2) -> None:
        self.place = ""
        self.raised: BaseException | None = None
        self.files: set[str] = set()
        #: All places that came, in the run that nothing interrupts.
        self.places: list[object] = []
        self._kind = kind
        self._done = done
        self._times = times
        self._seen: Counter[object] = Counter()
        self._outermost: FrameType | None = None

    def __enter__(self) -> None:
        gc.disable()  # or it would close generators of earlier interrupts in the midst of this one
        self._outermost = sys._getframe(1)
        sys.setprofile(self._profile)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self._outermost = None
        gc.enable()

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if self.place or event not in EVENTS or not is_ours(frame):
            return
        frames = within(self._outermost, frame)
        if is_lost(frames, event):
            return
        self.files.add(frame.f_code.co_filename)
        stack = event, *[(each.f_code, each.f_lasti) for each in frames if is_ours(each)]
        self._seen[stack] += 1
        place = stack, self._seen[stack]
        if self._seen[stack] > self._times or place in self._done:
            return
        if self._kind is None:
            self.places.append(place)
            return
        self._done.add(place)
        self.place = f"{event} in {Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_qualname}"
        self.raised = self._kind("at a place")
        raise self.raised


def within(outermost: FrameType | None, frame: FrameType | None) -> list[FrameType]:
    """A frame, its caller's, and so on, without the outermost and its callers."""
    found = []
    while frame is not None and frame is not outermost:
        found.append(frame)
        frame = frame.f_back
    return found


def is_ours(frame: FrameType) -> bool:
    """Whether it runs the code that is to be interrupted, or a context manager for it."""
    file = frame.f_code.co_filename
    if file == contextlib.__file__ and frame.f_back is not None:
        file = frame.f_back.f_code.co_filename
    return file in FILES


def is_lost(frames: list[FrameType], event: str) -> bool:
    """Whether Python only shows what is raised in the first of the frames, or can't call a handler there."""
    if event == "call" and frames[0].f_code.co_flags & inspect.CO_GENERATOR:
        return True
    return any(each.f_code.co_name in FINALISERS for each in frames)


@dataclass(frozen=True)
class Scenario:
    """``make`` makes all ready under a key that begins so, and returns what is to be interrupted.

    ``is_given`` says that uploads which are there by then are nobody's: a program that knows of them may come back to
    them. ``may_end`` says that they may also be aborted. ``refused`` is a call that the store refuses; ``times`` is how
    often a place is taken.
    """

    make: Callable[[MemoryS3, str], Act]
    is_given: bool = False
    may_end: bool = False
    refused: str | None = None
    times: int = 2


SCENARIOS: dict[str, Scenario] = {}

Make = Callable[[MemoryS3, str], Act]


def scenario(**options: Any) -> Callable[[Make], Make]:
    """Makes a function a scenario of its name."""

    def add(make: Make) -> Make:
        SCENARIOS[make.__name__.replace("_", " ")] = Scenario(make, **options)
        return make

    return add


def written(s3: MemoryS3, key: str, payload: bytes, **options: Any) -> MultipartUploadWriter:
    """A writer that has taken ``payload``."""
    stream = writer(s3.client, f"{key}object", part_size=PART_BYTES, **options)
    stream.write(payload)
    return stream


def refused(s3: MemoryS3, key: str, **options: Any) -> MultipartUploadWriter:
    """A writer one part of which S3 has refused, which nobody was told yet."""
    events, is_written = s3.client.meta.events, threading.Event()
    events.register("before-send.s3.UploadPart", lambda **_: is_written.wait(10) and None, unique_id=key)
    stream = written(s3, key, LARGE, **options)
    is_written.set()
    join_threads(0.2)
    events.unregister("before-send.s3.UploadPart", unique_id=key)
    return stream


def in_flight(stream: MultipartUploadWriter) -> Act:
    """`close`, in ``finally``, of a writer while an exception is in flight."""

    def act() -> None:
        try:
            raise Boom
        finally:
            stream.close()

    return act


def leaving(stream: MultipartUploadWriter) -> Act:
    """Leaves the ``with`` block of a writer by an exception."""

    def act() -> None:
        with stream:
            raise Boom

    return act


def meeting(stream: MultipartUploadWriter) -> Act:
    """Writes until that is refused."""

    def act() -> None:
        for _ in range(1000):
            stream.write(b"x")
            time.sleep(0.001)
        raise AssertionError("no write has failed")

    return act


@scenario()
def constructor(s3: MemoryS3, key: str) -> Act:
    return lambda: writer(s3.client, f"{key}object")


@scenario()
def write_of_short_bytes(s3: MemoryS3, key: str) -> Act:
    stream = written(s3, key, b"")
    return lambda: stream.write(SMALL)


@scenario()
def write_of_a_part_and_more(s3: MemoryS3, key: str) -> Act:
    stream = written(s3, key, b"")
    return lambda: stream.write(LARGE)


@scenario()
def write_of_a_part_and_more_to_be_kept(s3: MemoryS3, key: str) -> Act:
    stream = written(s3, key, b"", on_error="keep")
    return lambda: stream.write(LARGE)


@scenario()
def write_of_a_long_text(s3: MemoryS3, key: str) -> Act:
    stream = written(s3, key, b"")
    return lambda: stream.write("ä" * 300_000)


@scenario(refused="UploadPart")
def write_after_a_part_was_refused(s3: MemoryS3, key: str) -> Act:
    return meeting(refused(s3, key))


@scenario(refused="UploadPart")
def write_after_a_part_was_refused_to_be_kept(s3: MemoryS3, key: str) -> Act:
    return meeting(refused(s3, key, on_error="keep"))


@scenario()
def close_of_a_small_object(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, SMALL).close


@scenario()
def commit_of_a_small_object(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, SMALL).commit


@scenario()
def close_of_a_large_object(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, LARGE).close


@scenario()
def close_of_a_large_object_to_be_kept(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, LARGE, on_error="keep").close


@scenario(refused="UploadPart")
def close_after_a_part_was_refused(s3: MemoryS3, key: str) -> Act:
    return refused(s3, key).close


@scenario(refused="UploadPart")
def close_after_a_part_was_refused_to_be_kept(s3: MemoryS3, key: str) -> Act:
    return refused(s3, key, on_error="keep").close


@scenario(refused="CompleteMultipartUpload")
def close_whose_commit_is_refused(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, LARGE).close


@scenario()
def close_in_finally(s3: MemoryS3, key: str) -> Act:
    return in_flight(written(s3, key, LARGE))


@scenario()
def close_in_finally_to_be_kept(s3: MemoryS3, key: str) -> Act:
    return in_flight(written(s3, key, LARGE, on_error="keep"))


@scenario()
def with_left_by_an_exception(s3: MemoryS3, key: str) -> Act:
    return leaving(written(s3, key, LARGE))


@scenario()
def with_left_by_an_exception_to_be_kept(s3: MemoryS3, key: str) -> Act:
    return leaving(written(s3, key, LARGE, on_error="keep"))


@scenario()
def with_of_a_small_object_left_by_an_exception(s3: MemoryS3, key: str) -> Act:
    return leaving(written(s3, key, SMALL))


@scenario()
def abort(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, LARGE).abort


@scenario()
def abort_to_be_kept(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, LARGE, on_error="keep").abort


@scenario()
def prepare_of_a_small_object(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, SMALL).prepare


@scenario()
def prepare_of_a_large_object(s3: MemoryS3, key: str) -> Act:
    return written(s3, key, LARGE).prepare


@scenario()
def open_for_text_and_write(s3: MemoryS3, key: str) -> Act:
    def act() -> None:
        with s3writer.open(f"s3://{BUCKET}/{key}object", "w", client=s3.client) as text:
            text.write("some text")

    return act


@scenario()
def open_for_compressed_text_and_write(s3: MemoryS3, key: str) -> Act:
    def act() -> None:
        with s3writer.open(f"s3://{BUCKET}/{key}object.gz", "w", encoding="utf-16", client=s3.client) as text:
            text.write("some text")

    return act


def begun(s3: MemoryS3, key: str, *parts: bytes) -> str:
    """The id of an upload that some other program has begun."""
    where = {"Bucket": BUCKET, "Key": f"{key}object"}
    upload_id = str(s3.client.create_multipart_upload(**where)["UploadId"])
    for number, part in enumerate(parts, start=1):
        s3.client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=part)
    return upload_id


def resumed(s3: MemoryS3, key: str, upload_id: str, **options: Any) -> MultipartUploadWriter:
    return MultipartUploadWriter.resume(BUCKET, f"{key}object", upload_id, client=s3.client, **options)


@scenario(is_given=True)
def resume(s3: MemoryS3, key: str) -> Act:
    upload_id = begun(s3, key, b"too short")
    return lambda: resumed(s3, key, upload_id)


@scenario(is_given=True)
def resume_and_write_on_and_close(s3: MemoryS3, key: str) -> Act:
    upload_id = begun(s3, key, b"too short")

    def act() -> None:
        stream = resumed(s3, key, upload_id)
        stream.write(SMALL)
        stream.close()

    return act


@scenario(is_given=True)
def resume_and_verify_and_write_on_and_close(s3: MemoryS3, key: str) -> Act:
    upload_id = begun(s3, key, PART)

    def act() -> None:
        stream = resumed(s3, key, upload_id, verify=io.BytesIO(LARGE), checksum=None)
        stream.write(SMALL)
        stream.close()

    return act


@scenario(is_given=True, may_end=True)
def resume_to_be_aborted_and_write_on_and_close(s3: MemoryS3, key: str) -> Act:
    upload_id = begun(s3, key, b"too short")

    def act() -> None:
        with resumed(s3, key, upload_id, on_error="abort") as stream:
            stream.write(SMALL)

    return act


def prepared(s3: MemoryS3, key: str) -> PendingUpload:
    return written(s3, key, SMALL).prepare()


@scenario(is_given=True)
def commit_of_a_pending_upload(s3: MemoryS3, key: str) -> Act:
    return functools.partial(prepared(s3, key).commit, client=s3.client)


@scenario(is_given=True)
def abort_of_a_pending_upload(s3: MemoryS3, key: str) -> Act:
    return functools.partial(prepared(s3, key).abort, client=s3.client)


@scenario(is_given=True)
def commit_of_two_pending_uploads(s3: MemoryS3, key: str) -> Act:
    both = [prepared(s3, f"{key}{name}-") for name in ("one", "two")]
    return lambda: commit_all(both, client=s3.client)


@scenario(is_given=True)
def abort_of_an_unfinished_upload(s3: MemoryS3, key: str) -> Act:
    begun(s3, key)
    (found,) = list_uploads(BUCKET, key, client=s3.client)
    return functools.partial(found.abort, client=s3.client)


@scenario(is_given=True)
def list_of_uploads(s3: MemoryS3, key: str) -> Act:
    begun(s3, key, SMALL)
    return lambda: list(list_uploads(BUCKET, key, client=s3.client))


@scenario(is_given=True, times=3)
def abort_of_three_uploads(s3: MemoryS3, key: str) -> Act:
    for name in ("one", "two", "three"):
        begun(s3, f"{key}{name}-")
    any_age = dt.timedelta(0)
    return lambda: abort_uploads(BUCKET, key, older_than=any_age, dry_run=False, client=s3.client)


def begin(s3: MemoryS3, key: str) -> SegmentedUpload:
    return SegmentedUpload.begin(BUCKET, f"{key}object", segments=2, part_size=PART_BYTES, client=s3.client)


@scenario()
def begin_of_a_segmented_upload(s3: MemoryS3, key: str) -> Act:
    return lambda: begin(s3, key)


@scenario(is_given=True)
def commit_of_a_segmented_upload(s3: MemoryS3, key: str) -> Act:
    upload, receipts = begin(s3, key), []
    for number in range(2):
        with SegmentWriter(upload.segment(number), client=s3.client) as stream:
            stream.write(SMALL)
        receipts.append(stream.receipt)
    return lambda: upload.commit(receipts, client=s3.client, separator=b"-")


@scenario(is_given=True)
def abort_of_a_segmented_upload(s3: MemoryS3, key: str) -> Act:
    return functools.partial(begin(s3, key).abort, client=s3.client)


@scenario(is_given=True)
def close_of_a_small_segment(s3: MemoryS3, key: str) -> Act:
    stream = SegmentWriter(begin(s3, key).segment(1), client=s3.client)
    stream.write(SMALL)
    return stream.close


@scenario(is_given=True)
def close_of_a_segment_with_parts(s3: MemoryS3, key: str) -> Act:
    stream = SegmentWriter(begin(s3, key).segment(1), client=s3.client)
    stream.write(PART)
    stream.write(LARGE)
    return stream.close


@scenario(is_given=True)
def with_of_a_segment_left_by_an_exception(s3: MemoryS3, key: str) -> Act:
    stream = SegmentWriter(begin(s3, key).segment(1), client=s3.client)
    stream.write(SMALL)
    return leaving(stream)


class Inline(Executor):
    """Runs each call at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@scenario()
def write_of_segments(s3: MemoryS3, key: str) -> Act:
    halves = [lambda stream, half=half: stream.write(half) for half in (b"the beginning", b"the end")]
    return lambda: write_segments(BUCKET, f"{key}object", halves, executor=Inline(), header=b"header")


@scenario(refused="UploadPart")
def write_of_segments_that_is_refused(s3: MemoryS3, key: str) -> Act:
    return SCENARIOS["write of segments"].make(s3, key)


LIFECYCLE = b"<LifecycleConfiguration><Rule><ID>other</ID><Status>Enabled</Status><Prefix>other</Prefix></Rule>"


def with_rules(s3: MemoryS3) -> Any:
    """A client of a bucket with a rule, which takes any others."""

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        body = b"" if request.method == "PUT" else LIFECYCLE + b"</LifecycleConfiguration>"
        return AWSResponse(request.url, 200, {}, Raw(body))

    for call in ("GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration"):
        s3.client.meta.events.register(f"before-send.s3.{call}", answer, unique_id=call)
    return s3.client


@scenario()
def look_at_cleanup_rules(s3: MemoryS3, key: str) -> Act:
    client = with_rules(s3)
    return lambda: cleanup_rules(BUCKET, key, client=client)


@scenario()
def one_more_cleanup_rule(s3: MemoryS3, key: str) -> Act:
    client = with_rules(s3)
    return lambda: add_cleanup_rule(BUCKET, key, client=client)


def form(s3: MemoryS3, key: str, payload: bytes) -> Any:
    """A request with a form that has one file, which goes to the store when the form is parsed."""
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.test import RequestFactory

    from s3writer.django.uploads import S3UploadHandler

    request = RequestFactory().post("/", {"file": SimpleUploadedFile("name", payload)})
    options: dict[str, Any] = {"bucket": BUCKET, "client": s3.client, "part_size": PART_BYTES}
    request.upload_handlers = [S3UploadHandler(request, key=lambda _: f"{key}object", **options)]
    return request


def committing(request: Any) -> Act:
    """Parses the form, and commits its file."""

    def act() -> None:
        request.FILES["file"].commit()

    return act


@scenario()
def form_with_a_file_that_is_committed(s3: MemoryS3, key: str) -> Act:
    return committing(form(s3, key, LARGE))


@scenario()
def form_with_a_small_file_that_is_committed(s3: MemoryS3, key: str) -> Act:
    return committing(form(s3, key, SMALL))


@scenario()
def form_with_a_file_that_nobody_commits(s3: MemoryS3, key: str) -> Act:
    request = form(s3, key, LARGE)

    def act() -> None:
        try:
            _ = request.FILES
        finally:
            request.close()

    return act


@scenario(refused="UploadPart")
def form_with_a_file_that_is_refused(s3: MemoryS3, key: str) -> Act:
    return SCENARIOS["form with a file that nobody commits"].make(s3, key)


@functools.lru_cache(maxsize=1)
def storage(s3: MemoryS3) -> Any:
    """A storage of Django's whose files come to this store."""
    from s3writer.django.storage import S3Storage

    made = S3Storage(
        bucket_name=BUCKET,
        access_key="nobody",
        secret_key="nothing",
        region_name="us-east-1",
        addressing_style="path",
        writer={"part_size": PART_BYTES},
    )
    s3.attach(made.connection.meta.client)
    return made


@scenario()
def save_to_a_storage(s3: MemoryS3, key: str) -> Act:
    from django.core.files.base import ContentFile

    return lambda: storage(s3).save(f"{key}object", ContentFile(LARGE))


@scenario()
def open_of_a_storage_and_write(s3: MemoryS3, key: str) -> Act:
    def act() -> None:
        with storage(s3).open(f"{key}object", "wb") as stream:
            stream.write(LARGE)

    return act


@dataclass(frozen=True)
class Ended:
    """How a scenario has ended that was interrupted at ``place``.

    Attributes:
        place: where.
        came_out: whether the interrupt did.
        broken: objects under the scenario's keys that are not whole.
        untold: objects that nobody tells of.
        left: uploads that are unfinished, and that nobody names.
        gone: uploads that were given, are gone without being published, and that nobody names.
        lost: what finalisers have raised.
        said: all that was said.

    """

    place: str
    came_out: bool
    broken: list[str]
    untold: list[str]
    left: list[str]
    gone: list[str]
    lost: list[str]
    said: str

    def __str__(self) -> str:
        return f"{self.place}: {self.said or 'nothing was said'}"


def join_threads(seconds: float = THREAD_SECONDS) -> bool:
    """Wait for the package's threads; whether they have ended. One that an interrupt kept from being started stays
    among all threads, without an identity.
    """
    deadline = time.monotonic() + seconds
    while running := [each for each in threading.enumerate() if each.ident and each.name.startswith("s3writer")]:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        with contextlib.suppress(RuntimeError):  # it is starting just now
            running[0].join(left)
    return True


def stacks() -> str:
    """Where the package's threads are."""
    frames = sys._current_frames()
    ours = [each for each in threading.enumerate() if each.ident in frames and each.name.startswith("s3writer")]
    return "".join(f"{each.name}:\n{''.join(traceback.format_stack(frames[each.ident or 0]))}" for each in ours)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that a traceback shows above it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def said_by(error: BaseException | None) -> list[str]:
    """The words of an exception, its notes, what it knows to be published, and those of what it came from."""
    return [
        text
        for each in chain(error)
        for text in (
            str(each),
            *getattr(each, "__notes__", ()),
            *(f"published: {result}" for result in getattr(each, "published", ())),
        )
    ]


def came_out(interrupt: BaseException | None, error: BaseException | None) -> bool:
    """Whether ``error``, which a program gets, is the interrupt; one that is an Exception may also be its cause."""
    return error is interrupt or (isinstance(interrupt, Exception) and interrupt in chain(error))


def run(act: Act, interrupter: Interrupter) -> tuple[list[str], bool]:
    """Do it; what the exception said, and whether the interrupt came out. Nothing holds the exception any more, whose
    frames hold what was interrupted.
    """
    said: list[str] = []
    try:
        with interrupter:
            act()
    except BaseException as error:
        said, is_out = said_by(error), came_out(interrupter.raised, error)
    else:
        is_out = interrupter.raised is None
    interrupter.raised = None
    return said, is_out


def unfinished(s3: MemoryS3, key: str) -> dict[str, tuple[str, dict[int, str]]]:
    """The unfinished uploads whose keys begin so, by their ids: their URLs, and the ETags of their parts."""
    found: dict[str, tuple[str, dict[int, str]]] = {}
    if not any(url.startswith(f"s3://{BUCKET}/{key}") for url in s3.unfinished):
        return found
    for upload in s3.client.list_multipart_uploads(Bucket=BUCKET, Prefix=key).get("Uploads", []):
        where = {"Bucket": BUCKET, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        parts = s3.client.list_parts(**where).get("Parts", [])
        etags = {part["PartNumber"]: part["ETag"] for part in parts}
        found[upload["UploadId"]] = f"s3://{BUCKET}/{upload['Key']}", etags
    return found


def is_named(upload_id: str, url: str, said: list[str]) -> bool:
    """Whether whoever reads that finds the upload."""
    return any(upload_id in text or (url in text and any(hint in text for hint in HINTS)) for text in said)


def is_told(key: str, said: list[str]) -> bool:
    """Whether whoever reads that knows that there is, or may be, an object."""
    return any(key in text and any(word in text for word in PUBLISHED) for text in said)


def published(s3: MemoryS3, key: str) -> dict[str, bytes]:
    """The objects whose keys begin so, by what follows."""
    begins = f"s3://{BUCKET}/{key}"
    return {url.removeprefix(begins): body for url, body in s3.objects.items() if url.startswith(begins)}


def clear(s3: MemoryS3) -> None:
    """Let the store be empty: many keys with a part each are much memory."""
    for upload in s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) if s3.unfinished else []:
        s3.client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    for url in s3.objects:
        s3.client.delete_object(Bucket=BUCKET, Key=url.removeprefix(f"s3://{BUCKET}/"))


@contextlib.contextmanager
def lost() -> Iterator[list[str]]:
    """What finalisers raise meanwhile, instead of showing it."""
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda raised: found.append(f"{raised.object}: {raised.exc_value!r}"))
        yield found


def once(s3: MemoryS3, key: str, made: Scenario, interrupter: Interrupter, whole: Mapping[str, bytes]) -> Ended:
    """Interrupt it, drop all that it was made of, and look at what is left."""
    with logged() as log, lost() as raised:
        act = made.make(s3, key)
        given = unfinished(s3, key) if made.is_given else {}
        gc.collect(0)
        said, is_out = run(act, interrupter)
        del act
        for _ in range(2):  # what finalisers begin to remove in threads is collected when it is removed
            gc.collect()
            assert join_threads(), f"a thread goes on: {interrupter.place}\n{stacks()}"
        gc.collect()
        said += log
    objects, left = published(s3, key), unfinished(s3, key)
    return Ended(
        place=interrupter.place,
        came_out=is_out,
        broken=[name for name, body in objects.items() if body != whole.get(name)],
        untold=[name for name in objects if not is_told(f"{key}{name}", said)],
        left=[
            url
            for upload_id, (url, parts) in left.items()
            if not is_named(upload_id, url, said)
            and not (upload_id in given and given[upload_id][1].items() <= parts.items())
        ],
        gone=[
            url
            for upload_id, (url, _) in given.items()
            if upload_id not in left
            and url.removeprefix(f"s3://{BUCKET}/{key}") not in objects
            and not any(upload_id in text for text in said)
        ],
        lost=raised,
        said=" | ".join(text for text in said if text),
    )


@contextlib.contextmanager
def ready(made: Scenario) -> Iterator[MemoryS3]:
    """A store for a scenario. Nobody waits long, but for ever if for nothing. What is collected is only what the
    scenario has made.
    """
    with pytest.MonkeyPatch.context() as patch, MemoryS3(BUCKET) as s3:
        patch.setattr(time, "sleep", operator.truth)  # which is written in C too, so that it is a place
        patch.setattr(jobs, "_IDLE_SECONDS", 0.003)  # each run waits for its threads to end
        patch.setattr(jobs, "_LOOK_SECONDS", 0.06)
        patch.setattr(cleanup, "STOP_SECONDS", 3600.0)
        for module in (plan, resume_module, segment_writer, rules):
            patch.setattr(module, "MIN_PART_BYTES", PART_BYTES)
        if made.refused:
            s3.refuse(made.refused, "AccessDenied")
        gc.freeze()
        yield s3


def run_whole(s3: MemoryS3, made: Scenario) -> tuple[Interrupter, dict[str, bytes]]:
    """Run a scenario to its end: twice, since some of it is done in the first run only. What may be published."""
    for key in ("first/", "whole/"):
        interrupter = Interrupter(None, set())
        with logged():
            run(made.make(s3, key), interrupter)
            gc.collect()
            join_threads()
    whole = published(s3, "whole/")
    clear(s3)
    return interrupter, whole


def sweep(made: Scenario, kinds: Sequence[type[BaseException]]) -> Iterator[Ended]:
    """How a scenario ends, interrupted at one place after the other, by each of the kinds in turn."""
    with ready(made) as s3:
        uninterrupted, whole = run_whole(s3, made)
        done = left_out(uninterrupted)
        for key, kind in zip(map("{}/".format, itertools.count()), itertools.cycle(kinds)):
            interrupter = Interrupter(kind, done, made.times)
            ended = once(s3, key, made, interrupter, whole)
            clear(s3)
            if not interrupter.place:
                return
            yield ended


def left_out(uninterrupted: Interrupter) -> set[object]:
    """The places that are not tried. In the gate `MOST_PLACES` are tried at the most, drawn by lot."""
    places = uninterrupted.places
    return set() if IS_COMPLETE else set(random.sample(places, max(0, len(places) - MOST_PLACES)))


def but(endings: list[Ended], is_wrong: Callable[[Ended], object]) -> list[str]:
    """Those that are wrong, to be shown."""
    return [str(ended) for ended in endings if is_wrong(ended)]


#: In the gate the kinds take turns from place to place. In `make soak` each comes to each.
TURNS = [(kind,) for kind in KINDS] if IS_COMPLETE else [tuple(KINDS)]


@pytest.mark.parametrize("kinds", TURNS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_an_interrupt_at_any_place_comes_out_and_what_became_of_the_object_and_the_upload_is_true_and_told(
    name: str, kinds: Sequence[type[BaseException]]
) -> None:
    made = SCENARIOS[name]
    endings = list(sweep(made, kinds))
    assert endings
    assert but(endings, lambda ended: not ended.came_out) == []
    assert but(endings, lambda ended: ended.broken) == []
    assert but(endings, lambda ended: ended.untold and not ended.place.endswith(UNSEEN)) == []
    assert but(endings, lambda ended: ended.left) == []
    assert but(endings, lambda ended: ended.gone and made.is_given and not made.may_end) == []
    assert but(endings, lambda ended: ended.lost) == []


def has_functions(file: Path) -> bool:
    """Whether there is something in it to be called."""
    return any(isinstance(node, (ast.FunctionDef, ast.Lambda)) for node in ast.walk(ast.parse(file.read_text())))


def test_all_code_of_the_package_that_the_callers_thread_runs_is_interrupted() -> None:
    seen: set[str] = set()
    for made in SCENARIOS.values():
        with ready(made) as s3:
            seen |= run_whole(s3, made)[0].files
    unseen = {str(Path(file).relative_to(PACKAGE)) for file in FILES - seen if has_functions(Path(file))}
    assert unseen == UNREACHED.keys()


@pytest.mark.parametrize(
    ("payload", "on_error"), [(SMALL, "abort"), (LARGE, "abort"), (LARGE, "keep")], ids=["put", "complete", "keep"]
)
def test_a_writer_whose_close_was_interrupted_can_be_closed_again(payload: bytes, on_error: str) -> None:
    with ready(Scenario(lambda s3, key: s3.client.close)) as s3, logged():
        uninterrupted = Interrupter(None, set())
        run(written(s3, "whole/", payload, on_error=on_error).close, uninterrupted)
        done = left_out(uninterrupted)
        for key in map("{}/".format, itertools.count()):
            stream, interrupter = written(s3, key, payload, on_error=on_error), Interrupter(KeyboardInterrupt, done)
            run(stream.close, interrupter)
            before = published(s3, key)
            with contextlib.suppress(NotCommittedError):
                stream.close()
            assert stream.closed
            assert published(s3, key).items() >= before.items(), interrupter.place
            assert set(published(s3, key).values()) <= {payload}, interrupter.place
            clear(s3)
            if not interrupter.place:
                return


@INTERRUPTS
def test_an_upload_that_an_interrupt_kept_from_beginning_is_not_waited_for(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ready(Scenario(lambda s3, key: s3.client.close)) as s3:
        stream, start = written(s3, "", b"", on_error="keep"), jobs.Job.start

        def interrupt(*_: object, **__: object) -> bool:
            monkeypatch.setattr(jobs.Job, "start", start)
            raise kind("before the first thread was started")

        monkeypatch.setattr(jobs.Job, "start", interrupt)
        with pytest.raises(kind):
            stream.write(LARGE)
        assert s3.calls == []


@INTERRUPTS
@pytest.mark.parametrize(
    "payload",
    [bytearray(LARGE), bytearray(SMALL), LARGE, "ä" * 1000, "ä" * 600_000],
    ids=["long bytearray", "bytearray", "long bytes", "str", "long str"],
)
def test_a_write_that_was_interrupted_has_taken_nothing_or_was_the_last(
    payload: Any, kind: type[BaseException]
) -> None:
    with ready(Scenario(lambda s3, key: s3.client.close)) as s3, logged():
        uninterrupted = Interrupter(None, set())
        stream = written(s3, "whole/", b"")
        run(functools.partial(stream.write, payload), uninterrupted)
        stream.abort()
        done = left_out(uninterrupted)
        for key in map("{}/".format, itertools.count()):
            stream, interrupter = written(s3, key, b""), Interrupter(kind, done)
            run(functools.partial(stream.write, payload), interrupter)
            if not interrupter.place:
                stream.abort()
                return
            with contextlib.suppress(AbortedError):
                stream.write(b"after")
                stream.close()
            assert set(published(s3, key).values()) <= {b"after"}, interrupter.place
            clear(s3)
