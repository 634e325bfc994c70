"""Each call meets each fault, on the wire before a real store: the outcome is the truth, and what is left is told.

Here each fault is tried in the commit, and in turn in one of the parts, of the calls that begin and of those that only
look, on one store after the other; of what hangs, which takes seconds, only in what carries bytes. `make soak` tries
all.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import OnDemand, Running
from tests.matrix import CALLS, FAULTS, NOT_PUBLISHED, Cell, cells, expected, hurried, page, play
from tests.proxies import Proxy, proxy
from tests.stores import QUICK_SERVERS


def sample() -> Iterator[tuple[str, Cell]]:
    stores = itertools.cycle(QUICK_SERVERS)
    kinds = itertools.cycle(range(4))
    parts = itertools.cycle(["first part", "middle part", "last part"])
    looking = ["Abort", "ListParts", "HeadObject"]
    looks = itertools.cycle(looking)
    begins = itertools.cycle(["PutObject", "Create"])
    chosen = {fault: {next(parts), next(looks), next(begins), "Complete"} for fault in FAULTS}
    for (call, fault), four in itertools.groupby(cells(checks_checksums=True), lambda cell: (cell.call, cell.fault)):
        if call not in chosen[fault]:
            continue
        if "hang" in fault and call in {"Create", *looking}:
            continue
        cell = list(four)[next(kinds)]
        yield "seaweedfs" if cell.fault == "flipped byte" else next(stores), cell


@pytest.fixture(scope="session")
def proxies(running: Running) -> Iterator[OnDemand[Proxy]]:
    """A proxy before each store, started on demand."""
    with ExitStack() as stack:
        yield OnDemand(stack, lambda name: proxy(running[name]))


@pytest.mark.parametrize(("name", "cell"), list(sample()), ids=str)
def test_whatever_happens_on_the_wire_the_outcome_is_the_truth(
    proxies: OnDemand[Proxy], key: str, name: str, cell: Cell
) -> None:
    with hurried():
        assert play(cell, proxies[name], key).outcome in expected(cell)


def test_the_documentation_shows_this_matrix() -> None:
    assert page() in (Path(__file__).parent.parent / "docs" / "faults.md").read_text()
    assert set(CALLS) == {cell.call for _, cell in sample()}


def test_the_documentation_is_right_that_no_fault_in_the_clean_up_publishes() -> None:
    cleaning = itertools.product(["Abort", "ListParts"], FAULTS, [False, True], [False])
    assert set().union(*map(expected, itertools.starmap(Cell, cleaning))) == {NOT_PUBLISHED}
