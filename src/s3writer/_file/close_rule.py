"""Decides when `close` must not publish, because bytes may be missing.

- An exception is propagating. `close` finds it in ``sys.exception()``, also when a wrapper's ``with`` block, a
  ``finally``, or a generator that is being closed calls `close`. An exception that was propagating when the writer was
  made does not count, so an ``except`` block may write to S3. If that exception was raised again since, its traceback
  has grown, and it counts.
- A wrapper is being garbage-collected. CPython's ``TextIOWrapper`` and ``BufferedWriter`` have finalisers that call
  ``_dealloc_warn(self)`` on the wrapped file, and then ``close``. Some wrappers die after the first call without the
  second: ``xml.sax`` takes their ``close`` away, and so does Django's XML serializer. So the rule keeps a weak
  reference to the wrapper. If the wrapper is still alive when ``close`` is called, its finaliser is the caller.
- A wrapper was not closed, and holds bytes back. `wrappers` finds it.
"""

import contextlib
import logging
import sys
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from s3writer._errors import IncompleteError, S3WriterError, add_note
from s3writer._file.wrappers import unfinished
from s3writer._file.write_only import WriteOnly
from s3writer._log import log
from s3writer._upload.lifecycle import State
from s3writer._upload.upload import Upload

#: The reason in the note on an exception that kept a writer from publishing.
IN_FLIGHT = "its writer was closed while this exception was in flight"


class CloseRule:
    """Knows what was propagating when the writer was made, and whether a wrapper is dying."""

    def __init__(self) -> None:
        self._before: tuple[BaseException, TracebackType | None] | None = None
        self._dying_wrapper: weakref.ref[Any] | None = None
        self.has_told_of_late_bytes = False
        if (exception := sys.exception()) is not None:
            self._before = (exception, exception.__traceback__)

    def wrapper_dies(self, wrapper: object) -> None:
        """Remember that the finaliser of ``wrapper`` has called ``_dealloc_warn``."""
        self._dying_wrapper = weakref.ref(wrapper)

    @property
    def is_in_finaliser(self) -> bool:
        """Whether a wrapper's finaliser is the caller. It must not wait for S3: it may run in the middle of boto."""
        return self.dying_wrapper is not None

    @property
    def dying_wrapper(self) -> object | None:
        """The wrapper whose finaliser runs now; None if there is none."""
        return None if self._dying_wrapper is None else self._dying_wrapper()

    def counts(self, exception: BaseException) -> bool:
        """Whether ``exception`` was raised since the writer was made."""
        return self._before is None or self._before != (exception, exception.__traceback__)

    def forget(self) -> None:
        """Let every exception count from now on, and keep no reference to one."""
        self._before = None


def give_up(upload: Upload, exception: BaseException) -> None:
    """End the upload without publishing because of ``exception``. It gets a note, unless it says so itself.

    The log says it at INFO, since whoever sees the exception sees the note.
    """
    has_ended_it = exception is upload.lifecycle.error and not isinstance(exception, S3WriterError)
    if not upload.is_open and not has_ended_it:
        return
    note = f"{upload.calls.url} was not published: {IN_FLIGHT}"
    upload.fail(exception)
    add_note(exception, note)
    log(logging.INFO, "%s: %s", note, type(exception).__name__, extra=upload.extra)


def check_size(upload: Upload, taken: int, exact: int | None, *, is_whole: bool = False) -> None:
    """Raise `IncompleteError` if more than ``exact`` bytes were taken, or fewer and that is the whole stream."""
    if exact is not None and (taken > exact or (is_whole and taken < exact)):
        raise IncompleteError(
            f"{upload.calls.url} is not published: {taken:,} bytes were written, but exact_size is {exact:,}",
            *upload.calls.address,
        )


def check_wrappers(file: WriteOnly, upload: Upload, taken: Callable[[], int]) -> None:
    """Raise `IncompleteError` if a wrapper around ``file`` has not handed over all its bytes. ``taken`` tells how many
    bytes ``file`` has taken.

    The search takes milliseconds. So a small object is published without it, unless a wrapper may have been made.
    """
    if not file.was_asked and not upload.pipeline.ledger.parts:
        return
    if upload.pipeline.jobs.failures:
        return  # nothing can be published, and what refused the part is to be raised
    if (wrapper := unfinished(file, taken)) is not None:
        raise IncompleteError(
            f"{upload.calls.url} is not published: a {type(wrapper).__name__} around its writer was not closed, and "
            "holds bytes back. Close it before the writer, for instance with both in one with statement",
            *upload.calls.address,
        )


def tell_of_late_bytes(file: WriteOnly, upload: Upload, rule: CloseRule) -> None:
    """Say once, if ``file`` was published or prepared, that it lacks bytes which come now."""
    if rule.has_told_of_late_bytes or upload.lifecycle.state not in (State.COMMITTED, State.PREPARED):
        return
    rule.has_told_of_late_bytes = True  # before that is logged: a handler may write to this very file
    wrapper = rule.dying_wrapper
    source = "" if wrapper is None else f" from a {type(wrapper).__name__} that was never closed"
    done = "published" if upload.lifecycle.state is State.COMMITTED else "prepared"
    message = f"{upload.calls.url} was {done} before these bytes came{source}: it lacks them"
    log(logging.ERROR, "%s", message, extra=upload.extra)
    with contextlib.suppress(ResourceWarning):  # as an error it would hide the ValueError of a write to a closed file
        warnings.warn(message, ResourceWarning, stacklevel=4, source=file)
