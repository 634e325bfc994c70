"""What signals do to a command: until its outcome is decided they end it, and afterwards they change nothing."""

import contextlib
import signal
from collections.abc import Iterator

from s3writer.cli.endings import HungUp, Terminated


def _known(*names: str) -> list[signal.Signals]:
    """Those of the signals that this platform has."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


#: What ends a program. Windows sends SIGBREAK for Ctrl-Break.
_ENDS = dict.fromkeys(_known("SIGTERM", "SIGBREAK"), Terminated) | dict.fromkeys(_known("SIGHUP"), HungUp)


@contextlib.contextmanager
def raised(*, is_program: bool) -> Iterator[None]:
    """Signals that end a program become exceptions, and children can be waited for, whoever started this one. If the
    command is the whole program, its end is decided afterwards, and no signal changes it while Python shuts down.
    """
    children = _known("SIGCHLD")
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, *_ENDS, *children)}

    def leave(which: int, _: object) -> None:
        raise _ENDS[signal.Signals(which)]

    for which in _ENDS:
        if before[which] is not signal.SIG_IGN:
            signal.signal(which, leave)
    for which in children:
        signal.signal(which, signal.SIG_DFL)
    try:
        yield
    finally:
        if is_program:
            ignore()
        else:
            for which, handler in before.items():
                signal.signal(which, handler)


def ignore() -> None:
    """The outcome is decided, and nothing changes it any more."""
    for which in (signal.SIGINT, *_ENDS):
        signal.signal(which, signal.SIG_IGN)
