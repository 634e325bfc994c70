"""Where the command line's bytes come from: standard input or a program, compressed or not."""

import contextlib
import functools
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from s3writer._errors import S3WriterError
from s3writer._file.compression import Compressor, compressor
from s3writer._upload.jobs import Job
from s3writer.cli.pipes import Pipe, pipe

_PIECE_BYTES = 1024 * 1024
#: A pipe of Linux holds so many bytes.
_PIPE_BYTES = 64 * 1024
#: What a program that is told to stop gets before it is killed.
_PATIENCE_SECONDS = 5.0
#: How long a program that has closed its output may take to end.
_DYING_SECONDS = 0.5
#: How long to wait for the end of its standard error: the last lines say why it failed. A program that it has left in
#: the background may keep the pipe open.
_LAST_LINES_SECONDS = 2.0
#: So many bytes at the beginning tell the formats apart.
_MAGIC_BYTES = 2


class ProducerError(Exception):
    """The program that was to produce the bytes failed."""


class Producer:
    """Standard input, or a program whose output is wanted. ``tell`` is called with the lines of the program's standard
    error; None leaves standard error alone.
    """

    def __init__(self, command: Sequence[str], tell: Callable[[str], object] | None = None) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: Job[None] | None = None
        if command:
            with contextlib.ExitStack() as stack:
                errors = self._told(tell, stack) if tell else None
                try:
                    self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
                except OSError as error:
                    raise ProducerError(f"{command[0]} can't be run: {error.strerror}") from error
            assert self._process.stdout is not None
            self.output = pipe(self._process.stdout)
        else:
            self.output = pipe(sys.stdin.buffer)

    def _told(self, tell: Callable[[str], object], stack: contextlib.ExitStack) -> int | None:
        """A descriptor that ``stack`` closes. A thread calls ``tell`` with the lines that are written to it. None if no
        thread can be had.
        """
        ours, theirs = os.pipe()
        stack.callback(os.close, theirs)
        lines = Job(functools.partial(_tell_lines, ours, tell), "s3writer-stderr")
        if not lines.start(elsewhere=True):
            os.close(ours)
            return None
        self._lines = lines
        return theirs

    def check_size(self, exact: int) -> None:
        """`ProducerError` unless exactly so many bytes have come."""
        if self.output.size != exact:
            raise ProducerError(
                f"{self.output.size:,} bytes came, and --exact demands the {exact:,} of --expected-size"
            )

    def finish(self, timeout: float | None = None) -> None:
        """`ProducerError` unless the program has ended well; TimeoutExpired if it goes on for ``timeout`` seconds."""
        if self._process and (code := self._process.wait(timeout)):
            raise ProducerError(f"{self._command[0]} failed: {_ending(code)}")

    @contextlib.contextmanager
    def explains(self) -> Iterator[None]:
        """`ProducerError` instead of what came of it that the program has failed: its output was too short."""
        try:
            yield
        except (S3WriterError, ProducerError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.finish(_DYING_SECONDS)
            raise

    def stop(self) -> None:
        """Let the program go on no longer, and wait for the last lines of its standard error."""
        if self._process is None:
            return
        self.output.end()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        if self._lines is not None:
            self._lines.wait(_LAST_LINES_SECONDS)
            self._lines = None


@contextlib.contextmanager
def produced(command: Sequence[str], tell: Callable[[str], object] | None = None) -> Iterator[Producer]:
    """The producer; it is not left running."""
    producer = Producer(command, tell)
    try:
        yield producer
    finally:
        producer.stop()


def compressed(source: Any, how: str | None) -> Any:
    """``source`` as it is, or as a file of the format ``how``; ImportError if a package is missing for that."""
    return source if how is None else Compressed(source, compressor(how))


def begins_as(first: memoryview, how: str) -> bool:
    """Whether ``first``, the first bytes of a stream, may be the beginning of the format ``how``."""
    beginning = compressor(how)
    return (beginning.compress(b"") + beginning.flush()).startswith(bytes(first[:_MAGIC_BYTES]))


def _tell_lines(descriptor: int, tell: Callable[[str], object]) -> None:
    """Call ``tell`` with all lines that have come: each call redraws the bar, while the program waits. A line that is
    not ended, such as a question, counts after a second. Of a line that overwrites itself only the last state counts.
    """
    line = b""

    def end() -> None:
        nonlocal line
        if line:
            tell(line.decode(errors="backslashreplace"))
            line = b""

    with open(descriptor, "rb", buffering=0) as file:
        source: Pipe = pipe(file)
        source.idle = end
        while piece := source.read(_PIPE_BYTES):
            whole, ended, line = (line + piece).rpartition(b"\n")
            if ended:
                states = (each.rstrip(b"\r").rpartition(b"\r")[2] for each in whole.split(b"\n"))
                tell(b"\n".join(states).decode(errors="backslashreplace"))
            line = line[line.rfind(b"\r", 0, -1) + 1 :]
    end()


def _ending(code: int) -> str:
    return f"exit status {code}" if code > 0 else f"killed by signal {-code}"


class Compressed(io.RawIOBase):
    """What ``source`` holds, compressed while it is read; the same bytes for the same source."""

    def __init__(self, source: Any, compressor: Compressor) -> None:
        self._source = source
        self._compressor = compressor
        self._ready = memoryview(b"")
        self._is_done = False

    def readinto(self, target: Any, /) -> int:
        while not self._ready and not self._is_done:
            piece = self._source.read(_PIECE_BYTES)
            self._is_done = not piece
            self._ready = memoryview(self._compressor.compress(piece) if piece else self._compressor.flush())
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
