"""One call of a file at a time. A call that comes from within another one can't wait for that one: it is refused."""

import threading
from typing import Any

from s3writer._upload.jobs import is_worker_of


class ReentrantCallError(RuntimeError):
    """A writer was called from within its own call. The inner call did nothing; the outer call goes on."""

    def __init__(self, stream: object, where: str) -> None:
        super().__init__(
            f"{stream!r} was called {where}. Don't use a writer in its progress callback, in a signal handler, or in a "
            "handler of botocore's logs"
        )


class OneCall:
    """Hold ``lock`` during a call, and let ``is_busy`` say so."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.is_busy = False

    def check(self, stream: object, upload: Any) -> None:
        """Wait for other threads' calls. Raise `ReentrantCallError` in a thread that sends a part of ``upload``, for
        which the lock's holder may wait, and within a call of this thread: only then the lock is taken while one runs.
        """
        if is_worker_of(upload):
            raise ReentrantCallError(stream, "by a thread that sends its parts")
        with self.lock:
            if self.is_busy:
                raise ReentrantCallError(stream, "from within its own call")
