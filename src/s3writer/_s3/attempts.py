"""How each attempt of a call ends. botocore may send a call several times, and tells only of the last attempt."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

#: For each attempt the exception that ended it, or None if there was an answer, or nobody knows.
Attempts = Sequence[BaseException | None]

_of_this_thread = threading.local()


@contextlib.contextmanager
def attempts_of_call() -> Iterator[Attempts]:
    """A list that grows by each attempt of the call that the block makes. It may lack attempts: see `watch`."""
    # Where no thread can be had, a call that a handler makes runs within ours.
    outer = getattr(_of_this_thread, "ended", None)
    _of_this_thread.ended = ended = list[BaseException | None]()
    try:
        yield ended
    finally:
        _of_this_thread.ended = outer


def add(attempts: int, caught_exception: BaseException | None = None, **_: Any) -> None:
    """Add an attempt that has ended, the ``attempts``-th. botocore calls this before it decides whether to make another
    one.
    """
    ended: list[BaseException | None] | None = getattr(_of_this_thread, "ended", None)
    if ended is not None:
        ended += [None] * (attempts - 1 - len(ended))  # those of which it was not told
        ended.append(caught_exception)
