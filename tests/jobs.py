"""What workers do in the tests of segments: functions that other processes can import, and that fail on demand."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from s3writer.segments import write_segments
from tests.helpers import data
from tests.stores import BUCKET, Quirks, Store


def make_client(endpoint: str) -> Any:
    """A client of a store that runs on this machine."""
    store = Store("any", endpoint, Quirks())
    return store.client(request_checksum_calculation="when_required")


@cache
def remember_client(endpoint: str) -> Any:
    """`make_client`, once: what users should not do."""
    return make_client(endpoint)


def write(number: int, size: int, stream: Any) -> None:
    """So many bytes, in pieces; others for each number."""
    payload = data(size, number)
    for start in range(0, size, 1_000_003):
        stream.write(payload[start : start + 1_000_003])


def write_then_raise(number: int, size: int, stream: Any) -> None:
    """`write` half of it, and fail."""
    write(number, size // 2, stream)
    raise ArithmeticError(f"segment {number} can't be told")


def write_then_die(number: int, size: int, stream: Any, once: str = "") -> None:
    """`write` half of it and die by SIGKILL; if there is a path, only as long as nothing is there."""
    write(number, size // 2, stream)
    if not once or not Path(once).exists():
        if once:
            Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write_rest(number, size, stream)


def write_rest(number: int, size: int, stream: Any) -> None:
    """The second half of what `write` writes."""
    stream.write(data(size, number)[size // 2 :])


def fork_and_write(key: str, producers: list[Any], client: Callable[[], Any]) -> None:
    """`write_segments` in two processes that are forked from this one. A process of the tests itself is too large: in
    each fork of it, coverage takes ten seconds to begin anew.
    """
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as forked:
        write_segments(BUCKET, key, producers, executor=forked, client=client)


def write_text(line: str, stream: Any) -> None:
    """A line of text."""
    stream.write(line)


def dump(database: str, first: int, last: int, stream: Any) -> None:
    """Django's rows from one primary key to another, as JSON Lines."""
    from django.conf import settings
    from django.core import serializers

    from tests.library.project import configure

    if not settings.configured:
        configure(Path(database))
    from tests.library.models import Book

    books = Book.objects.filter(pk__gte=first, pk__lt=last).order_by("pk").prefetch_related("translators")
    serializers.serialize("jsonl", books, stream=stream)
