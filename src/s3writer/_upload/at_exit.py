"""The interpreter's exit: gives up uploads that were never closed, and waits for removals that are running.

A log handler may write to S3. ``logging`` closes it at exit, but after this module's work: exit callbacks run from the
last registered to the first. So if an upload is open, all log handlers are closed here first.

Python prints an exception of an exit callback without its notes. So each upload that may be left gets a line in the
log. An interrupt ends the wait for one upload only, and is raised when all uploads are done.
"""

import atexit
import contextlib
import logging
import time
import weakref
from typing import Any, Protocol

from s3writer._fork import in_each_child
from s3writer._log import logger
from s3writer._upload.jobs import Job

#: After this time, no further upload is removed: many uploads must not each wait for a server that hangs.
EXIT_SECONDS = 60.0


class Upload(Protocol):
    """An upload that has begun."""

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""

    def end_at_exit(self, *, has_time: bool) -> None:
        """Give it up, if there is time, and say what became of it."""


_under_way: "weakref.WeakSet[Upload]" = weakref.WeakSet()
#: Uploads of finalisers that could start no thread. Nobody else holds a reference to them.
_orphans: list[Upload] = []
_removals: "weakref.WeakSet[Job[Any]]" = weakref.WeakSet()


def watch(upload: Upload) -> None:
    """Give ``upload`` up at exit, if it has not ended by then."""
    _under_way.add(upload)


def adopt(upload: Upload) -> None:
    """Hold ``upload`` until the exit."""
    _orphans.append(upload)


def wait_for(removal: Job[Any]) -> None:
    """Wait at exit for ``removal``, a started job that removes an upload."""
    _removals.add(removal)


def _end_all() -> None:
    interrupt: BaseException | None = None
    if any(upload.is_alive for upload in _left()):
        try:
            _close_log_handlers()
        except BaseException as error:
            interrupt = error
    deadline = time.monotonic() + EXIT_SECONDS
    for removal in list(_removals):
        try:
            removal.wait(max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            interrupt = error
    for upload in _left():
        try:
            upload.end_at_exit(has_time=time.monotonic() < deadline)
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _close_log_handlers() -> None:
    """Close all log handlers: one may write to an open upload. Some take nothing afterwards, so what is logged from now
    on goes to standard error too.
    """
    try:
        logging.shutdown()
    finally:
        if logger.hasHandlers():  # else logging itself does that
            logger.addHandler(logging.StreamHandler())


def _left() -> list[Upload]:
    """The uploads to be ended. Other threads may still begin some."""
    while True:
        with contextlib.suppress(RuntimeError):  # the set has changed meanwhile
            return [*_under_way, *_orphans]


def _after_fork() -> None:
    """A forked child has neither its parent's uploads nor the threads that remove them."""
    for held in (_under_way, _removals, _orphans):
        held.clear()


atexit.register(_end_all)
in_each_child(_after_fork)
