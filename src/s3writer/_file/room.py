"""How many bytes the fast path of `write` may take, or why it may take none."""

import sys
from collections.abc import Callable
from enum import IntEnum
from types import FunctionType, MethodType

#: Python has this function since 3.13.
_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
_PYTHON = (FunctionType, MethodType)


class NoRoom(IntEnum):
    """Why the fast path takes no bytes now. ``_room`` holds it instead of a number of bytes."""

    CLOSED = -1
    FAILED = -2
    #: Another call of the writer is running.
    BUSY = -3
    #: A part has failed, a dying wrapper has written, or the writer was closed during a write.
    NEWS = -4
    #: This process is a forked child, and the writer belongs to its parent.
    FORKED = -5
    #: Another thread could run in the midst of the fast path.
    UNSAFE = -6


def room_for_fast(room: int) -> int:
    """``room``, or none where another thread could run in the midst of the fast path: in a Python without the GIL, and
    where this thread has a tracer or profiler that is written in Python.
    """
    is_watched = isinstance(sys.gettrace(), _PYTHON) or isinstance(sys.getprofile(), _PYTHON)
    return NoRoom.UNSAFE if is_watched or not _has_gil() else room
