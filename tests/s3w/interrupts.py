"""Ctrl-C at each place of the file system where Python may deliver it, as in `tests/test_interrupts.py`."""

from collections.abc import Callable
from typing import Any

import pytest

from s3writer.fsspec import S3WriterFileSystem
from s3writer.testing import MemoryS3
from tests.helpers import Boom
from tests.stores import BUCKET
from tests.test_interrupts import KINDS, LARGE, PART_BYTES, SMALL, UNSEEN, Act, Ended, Scenario, but, sweep

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of writers that are dropped

Use = Callable[[Any, str], None]


def write(fs: Any, path: str) -> None:
    with fs.open(path, "wb") as stream:
        stream.write(LARGE)


def write_text(fs: Any, path: str) -> None:
    with fs.open(path, "w", compression="gzip") as stream:
        stream.write("some text")


def write_together(fs: Any, path: str) -> None:
    with fs.transaction:
        with fs.open(f"{path}-1", "wb") as stream:
            stream.write(LARGE)
        fs.pipe_file(f"{path}-2", SMALL)


def raise_together(fs: Any, path: str) -> None:
    with fs.transaction:
        with fs.open(f"{path}-1", "wb") as stream:
            stream.write(LARGE)
        fs.pipe_file(f"{path}-2", SMALL)
        raise Boom


def scenario(use: Use, made: list[Any]) -> Scenario:
    """Uses a file system whose writers use the store in memory, and puts it into ``made``."""

    def make(_: MemoryS3, key: str) -> Act:
        fs = S3WriterFileSystem(skip_instance_cache=True, writer={"part_size": PART_BYTES})
        made.append(fs)
        return lambda: use(fs, f"{BUCKET}/{key}object")

    return Scenario(make)


def goes_on(ended: Ended) -> bool:
    """Whether the transaction does: before the first line of `complete`, nothing can be done about a signal."""
    return ended.place.startswith("call in") and ended.place.endswith("TogetherTransaction.complete")


@pytest.mark.parametrize("use", [write, write_text, write_together, raise_together])
def test_what_became_of_the_objects_and_the_uploads_is_told(use: Use) -> None:
    made: list[Any] = []
    endings, stuck = [], []
    for ended in sweep(scenario(use, made), KINDS):
        endings.append(ended)
        stuck += [ended.place] if made[-1]._intrans and not goes_on(ended) else []
    assert endings
    assert stuck == [], "a transaction goes on"
    assert but(endings, lambda ended: not ended.came_out) == []
    assert but(endings, lambda ended: ended.broken) == []
    assert but(endings, lambda ended: ended.untold and not ended.place.endswith(UNSEEN)) == []
    assert but(endings, lambda ended: ended.left and not goes_on(ended)) == []
    assert but(endings, lambda ended: ended.gone or ended.lost) == []
