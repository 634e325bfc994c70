"""What signals do to a command: until its outcome is decided they end it, and afterwards they change nothing."""

import contextlib
import signal
from collections.abc import Iterator

from s3writer.cli.endings import HungUp, Terminated


@contextlib.contextmanager
def raised(*, is_program: bool) -> Iterator[None]:
    """Signals that end a program become exceptions, and children can be waited for, whoever started this one. If the
    command is the whole program, its end is decided afterwards, and no signal changes it while Python shuts down.
    """
    kinds = {signal.SIGTERM: Terminated, signal.SIGHUP: HungUp}
    before = {which: signal.getsignal(which) for which in (*kinds, signal.SIGINT, signal.SIGCHLD)}

    def leave(which: int, _: object) -> None:
        raise kinds[signal.Signals(which)]

    for which in kinds:
        if before[which] is not signal.SIG_IGN:
            signal.signal(which, leave)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, signal.SIG_IGN)
