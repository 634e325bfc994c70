"""Decides when `close` must not publish, because bytes may be missing.

- An exception is propagating. `close` finds it in ``sys.exception()``, also when a wrapper's ``with`` block, a
  ``finally``, or a generator that is being closed calls `close`. An exception that was propagating when the writer was
  made does not count, so an ``except`` block may write to S3. If that exception was raised again since, its traceback
  has grown, and it counts.
- A wrapper is being garbage-collected. CPython's ``TextIOWrapper`` and ``BufferedWriter`` have finalisers that call
  ``_dealloc_warn(self)`` on the wrapped file, and then ``close``. Some wrappers die after the first call without the
  second: ``xml.sax`` takes their ``close`` away, and so does Django's XML serializer. So the rule keeps a weak
  reference to the wrapper. If the wrapper is still alive when ``close`` is called, its finaliser is the caller.
"""

import sys
import weakref
from types import TracebackType
from typing import Any

#: The reason in the note on an exception that kept a writer from publishing.
IN_FLIGHT = "its writer was closed while this exception was in flight"


class CloseRule:
    """Knows what was propagating when the writer was made, and whether a wrapper is dying."""

    def __init__(self) -> None:
        self._before: tuple[BaseException, TracebackType | None] | None = None
        self._dying_wrapper: weakref.ref[Any] | None = None
        if (exception := sys.exception()) is not None:
            self._before = (exception, exception.__traceback__)

    def wrapper_dies(self, wrapper: object) -> None:
        """Remember that the finaliser of ``wrapper`` has called ``_dealloc_warn``."""
        self._dying_wrapper = weakref.ref(wrapper)

    @property
    def is_in_finaliser(self) -> bool:
        """Whether a wrapper's finaliser is the caller. It must not wait for S3: it may run in the middle of boto."""
        return self._dying_wrapper is not None and self._dying_wrapper() is not None

    def counts(self, exception: BaseException) -> bool:
        """Whether ``exception`` was raised since the writer was made."""
        return self._before is None or self._before != (exception, exception.__traceback__)

    def forget(self) -> None:
        """Let every exception count from now on, and keep no reference to one."""
        self._before = None
