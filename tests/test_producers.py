"""What writes to a file writes to S3: each producer, read back by its own library, and interrupted halfway."""

import contextlib
import gc
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


#: The gate has no room for these, which take gigabytes of disk or of installation; "make producers" runs them as well.
LEFT_OUT = [producer for producer in PRODUCERS if producer.is_large or "torch" in producer.needs]
RUN = [producer for producer in PRODUCERS if producer not in LEFT_OUT]

each = pytest.mark.parametrize("producer", RUN, ids=lambda producer: producer.name)
refused = pytest.mark.parametrize(
    "producer", [producer for producer in RUN if producer.refused], ids=lambda producer: producer.name
)


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


def test_nothing_but_large_archives_and_torch_is_left_to_make_producers() -> None:
    assert [producer.name for producer in LEFT_OUT] == [
        "zipfile, zip64: 65,600 files",
        "zipfile, zip64: 4.5 GB in one file",
        "torch",
    ]


def test_the_table_has_a_row_for_each_producer_and_no_other() -> None:
    assert list(rows())[2:] == [producer.name for producer in PRODUCERS]
    assert modules(PRODUCERS[0])["csv"]
