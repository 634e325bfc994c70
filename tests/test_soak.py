"""A little of `make soak`: uploads of all kinds at once, with faults at random; see soak.py."""

import pytest

from tests.matrix import NOT_PUBLISHED, PUBLISHED
from tests.soak import soak


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of writers that are dropped on purpose
def test_nothing_is_lost_cut_or_untold_whatever_happens() -> None:
    told, problems = soak("seaweedfs", uploads=60, seed=20)
    assert problems == []
    assert {one.outcome for one in told} >= {PUBLISHED, NOT_PUBLISHED}
