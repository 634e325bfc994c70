"""Progress on a terminal."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

from s3writer._file.writer import MultipartUploadWriter
from s3writer._log import counted

_BAR_COLUMNS = 10
_IN_S3 = "in S3"


class Bar:
    """A row for the bytes that were read, and one for the bytes that S3 has acknowledged.

    ``expected_size`` is the number of bytes to be read. S3 gets as many, unless the stream ``is_compressed``. A row
    without a known total shows no total, no bar and no time that is left. The bar is called with each number of bytes
    that S3 acknowledges.
    """

    def __init__(self, expected_size: int | None = None, *, is_shown: bool, is_compressed: bool = False) -> None:
        self._expected_size = expected_size
        self._is_compressed = is_compressed
        self._stream: MultipartUploadWriter | None = None
        self._sent = 0
        self._rows: list[tuple[TaskID, Callable[[], int]]] = []
        self._progress = _Rows(self._update, is_shown=is_shown)

    @property
    def is_drawn(self) -> bool:
        """Whether lines of others would tear it."""
        return not (self._progress.disable or self._progress.console.is_dumb_terminal)

    def __call__(self, size: int) -> None:
        self._sent += size

    @contextlib.contextmanager
    def shown(self, read: Callable[[], int] | None = None) -> Iterator[None]:
        """Show the bar during the block. ``read`` returns how many bytes were read. A terminal that is closed meanwhile
        is no error.
        """
        if read:
            self._add("read", read, self._expected_size)
        with contextlib.suppress(OSError):
            self._progress.start()
        try:
            yield
        finally:
            self.end()

    def follow(self, stream: MultipartUploadWriter) -> None:
        """Show what S3 has of ``stream``."""
        self._stream, self._sent = stream, stream.tell()
        self._add(_IN_S3, lambda: self._sent, None if self._is_compressed else self._expected_size)

    def say(self, text: str) -> None:
        """Print a line above the bar. It may have colors."""
        with contextlib.suppress(OSError, UnicodeError):
            self._progress.console.print(Text.from_ansi(text), soft_wrap=True)

    def end(self) -> None:
        """Remove the bar from the terminal."""
        with contextlib.suppress(OSError):
            self._progress.stop()

    def _add(self, label: str, count: Callable[[], int], total: int | None) -> None:
        row = self._progress.add_task(label, total=total, completed=count(), note="")
        self._rows.append((row, count))

    def _update(self) -> None:
        """Bring the rows up to date."""
        for row, count in self._rows:
            self._progress.update(row, completed=count())
        for number, task in enumerate(self._progress.tasks):
            notes = self._times() if number == 0 else []
            if self._stream and task.description == _IN_S3:
                notes.append(f"{counted(self._stream.parts_in_flight, 'part')} in flight")
            self._progress.update(task.id, note=", ".join(notes))

    def _times(self) -> list[str]:
        """The time since the beginning. With a known total also the time that is left, by the last row that has one."""
        tasks = self._progress.tasks
        left = next((task.time_remaining for task in reversed(tasks) if _has_total(task)), None)
        shown = [f"{dt.timedelta(seconds=int(tasks[0].elapsed or 0))} elapsed"]
        return [*shown, f"{dt.timedelta(seconds=int(left))} left"] if left else shown


class _Rows(Progress):
    """Rows that are brought up to date each time they are drawn."""

    def __init__(self, update: Callable[[], object], *, is_shown: bool) -> None:
        self._bring_up_to_date = update
        super().__init__(
            _Cell(lambda task: Text(task.description)),
            _Cell(lambda task: Text(_size(task), style="progress.download")),
            _Cell(_bar),
            _Cell(
                lambda task: Text(f"{decimal(int(task.speed))}/s" if task.speed else "", style="progress.data.speed")
            ),
            _Cell(lambda task: Text(task.fields["note"])),
            console=Console(stderr=True),
            disable=not is_shown,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """The rows."""
        if self.tasks:
            self._bring_up_to_date()
        return super().get_renderables()


class _Cell(ProgressColumn):
    """A cell of each row."""

    def __init__(self, draw: Callable[[Task], RenderableType]) -> None:
        super().__init__(Column(no_wrap=True))
        self._draw = draw

    def render(self, task: Task) -> RenderableType:
        """What is drawn."""
        return self._draw(task)


def _has_total(task: Task) -> bool:
    """Whether the total is known. If more came than was expected, it is not."""
    return bool(task.total) and task.completed <= (task.total or 0)


def _size(task: Task) -> str:
    done = decimal(int(task.completed))
    return f"{done} of {decimal(int(task.total or 0))}" if _has_total(task) else done


def _bar(task: Task) -> RenderableType:
    return ProgressBar(task.total, task.completed, _BAR_COLUMNS) if _has_total(task) else ""
