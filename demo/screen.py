"""What the demonstrations print: 80 columns, a line for each step, and a last line that says how it went."""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.text import Text

from s3writer import S3WriterError

WIDTH = 80
YES, NO = "✓", "✗"

sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may lack these signs
console = Console(width=min(WIDTH, Console().width), highlight=False)


class BrokenPromiseError(Exception):
    """The demonstration found something else than s3writer promises."""


class Step:
    """A step of the demonstration while it runs. ``done`` is its last line; the caller may change it."""

    def __init__(self, doing: str, advance: Callable[[float], None], say: Callable[[str], None]) -> None:
        self.done = doing
        self.advance = advance
        self.say = say


@contextmanager
def step(doing: str, total: float | None = None, unit: str = "", is_timed: bool = True) -> Iterator[Step]:
    """Show progress while a step runs, and afterwards what it did and, if ``is_timed``, how long it took."""
    shown = TextColumn("{task.completed:,.0f} " + unit) if unit else TextColumn("")
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=None), shown
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal, expand=True) as progress:
        task = progress.add_task(doing, total=total)
        running = Step(
            doing,
            lambda count: progress.advance(task, count),
            lambda text: progress.update(task, description=text),
        )
        yield running
    seconds = f"{time.monotonic() - began:.1f} s" if is_timed else ""
    line = f"{running.done:<{console.width - 2 - len(seconds) - 1}} {seconds}"
    console.print(Text.assemble((YES, "bold green"), " ", line), soft_wrap=True)


def title(text: str) -> None:
    """The first line."""
    console.print(Rule(Text(text, "bold"), align="left"))


def heading(text: str) -> None:
    """A part of the demonstration begins."""
    console.print()
    console.print(Text(text, "bold"))


def say(text: str) -> None:
    """A sentence below a step."""
    console.print(Padding(Text(text), (0, 0, 0, 2)))


def frame(text: str, subject: str) -> None:
    """Something that s3writer says, in a frame: it is there on purpose."""
    console.print(Panel(Text(text), title=Text(subject), title_align="left"))


def run(show: Callable[[], str]) -> int:
    """Run a demonstration. ``show`` returns its summary; the exit status is 0 only if all was as promised."""
    began = time.monotonic()
    try:
        summary = show()
    except BrokenPromiseError as error:
        return _fail(f"Not as promised: {error}")
    except (BotoCoreError, ClientError, S3WriterError, OSError) as error:
        return _fail(f"The demonstration could not go on. {type(error).__name__}: {error}")
    except KeyboardInterrupt:
        return _fail("Interrupted.")
    except Exception as error:
        frame("".join(traceback.format_exception(error)).rstrip(), "an error of the demonstration itself")
        return _fail("The demonstration has an error.")
    console.print()
    console.print(Rule())
    console.print(Text.assemble((YES, "bold green"), f" {summary} {time.monotonic() - began:.0f} s in all."))
    return 0


def _fail(text: str) -> int:
    console.print()
    console.print(Rule(style="red"))
    console.print(Text.assemble((NO, "bold red"), " ", text))
    return 1
