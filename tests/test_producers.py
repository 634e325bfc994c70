"""What writes to a file writes to S3: each producer, read back by its own library, and interrupted halfway."""

import contextlib
import gc
import importlib.util
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import content, uploads, writer
from tests.producers import PRODUCERS, Producer, Watched, modules, read_back, row, rows, run, write
from tests.stores import BUCKET

#: A producer that writes so often is interrupted at this write, any other in the middle.
MANY = 100

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a producer's finalisers complain of is said here, and not in another test."""
    yield
    gc.collect()


def marked(producer: Producer) -> Any:
    missing = [name for name in producer.needs if importlib.util.find_spec(name.partition(".")[0]) is None]
    reasons = [f"{name} is not installed; make producers installs it" for name in missing]
    if producer.is_large and not missing:
        reasons = ["it takes many seconds; make producers runs it"]
    # The gate has no room for torch and for archives of many gigabytes; what it leaves out, "make producers" runs.
    marks = [pytest.mark.skip(reason=reason) for reason in reasons]
    return pytest.param(producer, id=producer.name, marks=marks)


each = pytest.mark.parametrize("producer", list(map(marked, PRODUCERS)))
refused = pytest.mark.parametrize("producer", [marked(producer) for producer in PRODUCERS if producer.refused])


def interrupted(producer: Producer, stream: Watched) -> Watched:
    """``stream``, after the producer has been interrupted, in a way of its own, if it was."""
    with contextlib.suppress(BaseException):
        run(producer, producer.writes, stream)
    return stream


def told(error: BaseException) -> str:
    """The whole traceback: some raise an exception of their own because of another."""
    return "".join(traceback.format_exception(error))


@each
def test_what_a_producer_wrote_is_read_back_by_its_own_library(client: Any, key: str, producer: Producer) -> None:
    stream = write(producer, client, key)
    stored = content(client, key)
    assert stored is not None
    assert read_back(producer, stored)
    assert row(producer, stream) == rows()[producer.name]


@each
def test_a_producer_that_is_interrupted_halfway_publishes_nothing(client: Any, key: str, producer: Producer) -> None:
    stream = interrupted(producer, Watched(BUCKET, key, client=client, nth=MANY))
    if stream.writes < MANY:
        client.delete_object(Bucket=BUCKET, Key=key)
        middle = stream.writes // 2 + 1
        stream = interrupted(producer, Watched(BUCKET, key, client=client, nth=middle))
    assert stream.was_interrupted
    assert content(client, key) is None
    assert uploads(client, key) == []


@refused
def test_what_a_producer_can_not_have_is_refused_and_nothing_is_published(
    client: Any, key: str, producer: Producer
) -> None:
    with pytest.raises(Exception) as caught:
        run(producer, producer.refused, writer(client, key))
    assert producer.error in told(caught.value)
    assert content(client, key) is None
    assert uploads(client, key) == []


def test_the_table_has_a_row_for_each_producer_and_no_other() -> None:
    assert list(rows())[2:] == [producer.name for producer in PRODUCERS]
    assert modules(PRODUCERS[0])["csv"]
