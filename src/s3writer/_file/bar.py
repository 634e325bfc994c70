"""A bar on a terminal."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from s3writer._file.writer import MultipartUploadWriter


class Bar:
    """Progress on a terminal: called with the bytes that S3 has acknowledged."""

    def __init__(self, expected_size: int | None, *, is_shown: bool) -> None:
        remaining = [TimeRemainingColumn()] if expected_size else []
        in_flight = TextColumn("{task.fields[parts]} parts in flight")
        self._progress = Progress(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            in_flight,
            TimeElapsedColumn(),
            *remaining,
            console=Console(stderr=True),
            disable=not is_shown,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=expected_size, parts=0)
        self._stream: MultipartUploadWriter | None = None

    def __call__(self, size: int) -> None:
        parts = self._stream.parts_in_flight if self._stream else 0
        with contextlib.suppress(OSError):
            self._progress.update(self._task, advance=size, parts=parts)

    @contextlib.contextmanager
    def watch(self, stream: MultipartUploadWriter) -> Iterator[None]:
        """Show the bar while the block writes to ``stream``. A terminal that is closed meanwhile is no error."""
        self._stream = stream
        self._progress.update(self._task, completed=stream.tell())
        with contextlib.suppress(OSError):
            self._progress.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._progress.stop()
