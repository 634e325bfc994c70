"""Ctrl-C at each place of the package where Python may deliver it: what became of the upload is true, and told."""

import contextlib
import functools
import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from types import FrameType
from typing import Any, TypeVar

import pytest

from s3writer import (
    AbortedError,
    MultipartUploadWriter,
    PendingUpload,
    S3WriterError,
    pending,
)
from s3writer._file import writer as _writer
from s3writer._s3 import calls as _store
from s3writer._upload import lifecycle as _session
from s3writer._upload import sender as _sender
from s3writer._upload import upload as _upload
from s3writer.segments import driver, joints, write_segments
from s3writer.segments import upload as _segmented
from s3writer.testing import MemoryS3
from tests.helpers import MIB, data, logged, writer
from tests.stores import BUCKET

SMALL, LARGE = data(1000), data(5 * MIB + 1)
#: Python calls signal handlers when a function begins, and when one that is written in C has ended; what they raise in
#: a finaliser is lost.
EVENTS = {"call", "c_return"}
PLACES = {str(module.__file__) for module in (_writer, _upload, _store, _session, _sender, pending)}
FINALISERS = {"__del__", "alarm", "<genexpr>"}

Begun = TypeVar("Begun")


class TimeLimitError(ValueError):
    """What a task queue's signal handler may raise; a kind of what `write` raises itself, but not that."""


INTERRUPTS = pytest.mark.parametrize("kind", [KeyboardInterrupt, TimeLimitError])

#: What is said of an Exception that was taken for a fault of the connection, which had no effect.
SWALLOWED = "the work was done"


class Interrupter:
    """Raises ``kind`` at the ``nth`` place, once."""

    def __init__(self, kind: type[BaseException], nth: int, places: set[str]) -> None:
        self.left = nth
        self.place = ""
        self.kind = kind
        self._places = places

    def __enter__(self) -> None:
        gc.disable()  # or it would close generators of earlier interrupts in the midst of this one
        sys.setprofile(self._profile)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if event in EVENTS and self._is_ours(frame) and not is_lost(frame):
            self.left -= 1
            if not self.left:
                self.place = f"{event} in {frame.f_code.co_name}, line {frame.f_lineno}"
                raise self.kind

    def _is_ours(self, frame: FrameType) -> bool:
        """Whether it runs the code that is to be interrupted, or a context manager for it."""
        if frame.f_code.co_filename == contextlib.__file__ and frame.f_back is not None:
            frame = frame.f_back
        return frame.f_code.co_filename in self._places


def is_lost(frame: FrameType | None) -> bool:
    """Whether Python only shows what is raised here."""
    while frame is not None and frame.f_code.co_name not in FINALISERS:
        frame = frame.f_back
    return frame is not None


def interrupted(act: Callable[[], object], interrupter: Interrupter) -> str | None:
    """What the interrupt of ``act`` says, its notes included; None if it did not come to it."""
    try:
        with interrupter:
            act()
    except (KeyboardInterrupt, TimeLimitError, S3WriterError) as error:
        return "\n".join([str(error), *getattr(error, "__notes__", ())])
    if interrupter.left > 0:
        return None
    assert interrupter.kind is not KeyboardInterrupt, f"the interrupt was swallowed: {interrupter.place}"
    return SWALLOWED


def tells_of_an_object(said: str) -> bool:
    """Whether whoever reads that looks for an object."""
    return any(told in said for told in ("published all the same", "is not known", SWALLOWED))


class Sweep:
    """Interrupts the same work at one place after the other, each time with a key of its own."""

    def __init__(self, kind: type[BaseException], places: set[str] = PLACES) -> None:
        self.s3 = MemoryS3(BUCKET)
        self._kind = kind
        self._places = places

    def writer(self, payload: bytes, **options: Any) -> Callable[[str], MultipartUploadWriter]:
        """What makes a writer for a key, and writes to it."""

        def make(key: str) -> MultipartUploadWriter:
            stream = writer(self.s3.client, key, **options)
            stream.write(payload)
            return stream

        return make

    def over(self, begin: Callable[[str], Begun], act: Callable[[Begun], object]) -> Iterator[tuple[Begun, str, str]]:
        """What was begun, its URL, and what the interrupt says."""
        for nth in itertools.count(1):
            begun = begin(str(nth))
            gc.collect(0)
            with logged():
                said = interrupted(functools.partial(act, begun), Interrupter(self._kind, nth, self._places))
            if said is None:
                assert nth > 5
                if isinstance(begun, MultipartUploadWriter):
                    begun.abort()
                return
            yield begun, f"s3://{BUCKET}/{nth}", said


@INTERRUPTS
@pytest.mark.parametrize(
    ("payload", "on_error"), [(SMALL, "abort"), (LARGE, "abort"), (LARGE, "keep")], ids=["put", "complete", "keep"]
)
def test_an_interrupted_close_or_commit_says_what_became_of_the_object(
    payload: bytes, on_error: str, kind: type[BaseException]
) -> None:
    sweep = Sweep(kind)
    act = MultipartUploadWriter.commit if payload is SMALL else MultipartUploadWriter.close
    for stream, url, said in sweep.over(sweep.writer(payload, on_error=on_error), act):
        published = sweep.s3.objects.get(url)
        assert published in (None, payload)
        assert tells_of_an_object(said) if published else said != SWALLOWED
        assert not published or "resume(" not in said or "is not known" in said
        with logged(), contextlib.suppress(AbortedError):
            stream.close()
        assert sweep.s3.objects.get(url) in (published, payload)
        assert url not in sweep.s3.unfinished or "resume(" in said or "is not known" in said


@INTERRUPTS
def test_an_interrupted_prepare_leaves_nothing_untold(kind: type[BaseException]) -> None:
    sweep = Sweep(kind)
    for stream, url, said in sweep.over(sweep.writer(LARGE), MultipartUploadWriter.prepare):
        stream.abort()
        assert url not in sweep.s3.unfinished or "must be committed or aborted" in said
    assert not sweep.s3.objects


@INTERRUPTS
def test_an_interrupted_commit_of_a_pending_upload_says_what_became_of_it(kind: type[BaseException]) -> None:
    sweep = Sweep(kind)
    prepared, commit = sweep.writer(LARGE), functools.partial(PendingUpload.commit, client=sweep.s3.client)
    for _, url, said in sweep.over(lambda key: prepared(key).prepare(), commit):
        published = url in sweep.s3.objects
        assert tells_of_an_object(said) if published else said != SWALLOWED
        assert (url in sweep.s3.unfinished) is not published


class Inline(Executor):
    """Runs each call at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def write_both_halves(key: str) -> None:
    halves = [lambda stream, half=half: stream.write(half) for half in (b"the beginning", b"the end")]
    write_segments(BUCKET, key, halves, executor=Inline())


@INTERRUPTS
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of a segment that an interrupt keeps from being closed
def test_an_interrupted_driver_says_what_became_of_the_object(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    monkeypatch.setattr("s3writer.segments.driver._PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("s3writer.segments.driver._LATE_SECONDS", 0.0)
    modules = (driver, _segmented, joints, pending)
    sweep = Sweep(kind, {str(module.__file__) for module in modules})
    with sweep.s3:
        for _, url, said in sweep.over(lambda key: key, write_both_halves):
            assert tells_of_an_object(said) if url in sweep.s3.objects else said != SWALLOWED
            if url in sweep.s3.unfinished:
                assert any(told in said for told in ("may be left", "has begun", "could not be", "unfinished uploads"))


@INTERRUPTS
@pytest.mark.parametrize(
    "payload",
    [bytearray(LARGE), bytearray(SMALL), LARGE, "ä" * 1000, "ä" * 600_000],
    ids=["long bytearray", "bytearray", "long bytes", "str", "long str"],
)
def test_a_write_that_was_interrupted_has_taken_nothing_or_was_the_last(
    payload: Any, kind: type[BaseException]
) -> None:
    sweep = Sweep(kind)
    for stream, url, said in sweep.over(sweep.writer(b""), lambda stream: stream.write(payload)):
        with logged(), contextlib.suppress(AbortedError):
            stream.write(b"after")
            stream.close()
        assert sweep.s3.objects.get(url) in (None, b"after")
        assert url not in sweep.s3.unfinished or "unfinished uploads" in said
