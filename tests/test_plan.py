"""The sizes of parts: within S3's limits, within the memory, and far enough."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3writer._upload.plan import (
    DEFAULT_CONCURRENCY,
    FIRST_IN_FLIGHT,
    GIB,
    MAX_OBJECT_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    MIB,
    MIN_PART_BYTES,
    Plan,
    make_plan,
)

TIB = 1024 * GIB


def plan(**changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "part_size": MIN_PART_BYTES,
        "max_concurrency": DEFAULT_CONCURRENCY,
        "max_memory": None,
        "expected_size": None,
        "equal_parts": False,
    }
    return make_plan(**{**settings, **changes})


def test_the_limits_are_those_of_s3() -> None:
    assert (MIN_PART_BYTES, MAX_PART_BYTES, MAX_PARTS) == (5 * 1024**2, 5 * 1024**3, 10_000)
    assert MAX_OBJECT_BYTES == 53_687_091_200_000


def test_parts_start_small_and_grow_to_what_the_pipeline_leaves() -> None:
    default = plan()
    assert [default.size(number) // MIB for number in (1, 7, 8, 700, 701, 2000)] == [5, 5, 6, 6, 16, 16]
    assert {default.in_flight(number) for number in range(1, 701)} == {DEFAULT_CONCURRENCY}
    assert {default.in_flight(number) for number in range(701, 2001)} == {FIRST_IN_FLIGHT}


def test_who_says_how_many_shall_be_in_flight_has_as_many_in_long_streams_too() -> None:
    for settings in ({"max_concurrency": 14}, {"max_memory": 128 * MIB}):
        chosen = plan(**settings)
        assert {chosen.in_flight(number) for number in (1, 700, 701, 2000)} == {chosen.max_concurrency}


def test_a_stream_of_unknown_length_reaches_5_tib_with_parts_of_at_most_1_3_gib() -> None:
    assert plan().longest() >= 5 * TIB
    assert plan().size(MAX_PARTS) <= 1.3 * GIB


@pytest.mark.parametrize("size", [1, 5 * MIB, 39 * GIB, 49 * GIB, 5 * TIB, MAX_OBJECT_BYTES - 1, MAX_OBJECT_BYTES])
def test_an_expected_size_makes_equal_parts_that_fit(size: int) -> None:
    chosen = plan(expected_size=size)
    needed = max(1, -(-size // chosen.part_size))
    assert {chosen.size(number) for number in (1, 2, 5000, needed)} == {chosen.part_size}
    assert MIN_PART_BYTES <= chosen.part_size <= MAX_PART_BYTES
    assert chosen.longest() >= size
    assert chosen.in_flight(1) >= 1


@pytest.mark.parametrize(("size", "times"), [(1, 8), (300 * GIB, 8), (TIB, 5), (6 * TIB, 2)])
def test_a_stream_may_turn_out_longer_than_was_expected(size: int, times: int) -> None:
    assert plan(expected_size=size).longest() >= times * size
    assert plan(expected_size=size, max_memory=64 * GIB).longest() >= times * size


def test_room_for_longer_streams_does_not_starve_the_pipeline_of_a_given_memory() -> None:
    assert plan(expected_size=300 * GIB, max_memory=21 * 32 * MIB).part_size == 32 * MIB
    assert plan(expected_size=300 * GIB, max_memory=21 * 32 * MIB).in_flight(1) == DEFAULT_CONCURRENCY
    assert plan(expected_size=300 * GIB, max_memory=31 * MIB).part_size == 31 * MIB


def test_equal_parts_are_large_enough_for_an_expected_size_that_fits() -> None:
    assert plan(equal_parts=True, expected_size=10 * MIB) == plan(equal_parts=True)
    assert plan(equal_parts=True, expected_size=MAX_PARTS * MIN_PART_BYTES).size(MAX_PARTS) == MIN_PART_BYTES


def test_equal_parts_stay_equal() -> None:
    assert {plan(part_size=8 * MIB, equal_parts=True).size(number) for number in range(1, MAX_PARTS + 1)} == {8 * MIB}


@given(
    part_size=st.integers(MIN_PART_BYTES, MAX_PART_BYTES),
    max_concurrency=st.integers(1, 1000),
    extra_memory=st.integers(0, 20 * GIB),
)
def test_no_part_and_no_pipeline_exceeds_max_memory(part_size: int, max_concurrency: int, extra_memory: int) -> None:
    memory = part_size + extra_memory
    chosen = plan(part_size=part_size, max_concurrency=max_concurrency, max_memory=memory)
    numbers = [*range(1, 40), *range(1990, 2200), 3000, 5000, MAX_PARTS]
    sizes = [chosen.size(number) for number in numbers]
    assert all(part_size <= size <= MAX_PART_BYTES for size in sizes)
    assert all(before <= after for before, after in pairwise(sizes))
    assert all((chosen.in_flight(number) + 1) * chosen.size(number) <= memory for number in numbers)
    assert all(0 <= chosen.in_flight(number) <= max_concurrency for number in numbers)


@pytest.mark.parametrize(
    ("setting", "limits"),
    [
        ({"part_size": MIN_PART_BYTES - 1}, "part_size=5242879 .* 5 MiB to 5 GiB"),
        ({"part_size": MAX_PART_BYTES + 1}, "part_size=.* 5 MiB to 5 GiB"),
        ({"max_concurrency": 0}, "max_concurrency=0 .* 1 to 1000"),
        ({"max_concurrency": 1001}, "max_concurrency=1001 .* 1 to 1000"),
        ({"expected_size": -1}, "expected_size=-1 .* 48.8 TiB"),
        ({"expected_size": MAX_OBJECT_BYTES + 1}, "expected_size=.* 48.8 TiB"),
        ({"max_memory": MIN_PART_BYTES - 1}, "max_memory=.* at least one part, here 5242880 bytes"),
        ({"max_memory": 100 * MIB, "expected_size": 5 * TIB}, "max_memory=.* at least one part"),
        ({"equal_parts": True, "expected_size": 5 * TIB}, "expected_size=.* set part_size to 550502400 or more"),
    ],
)
def test_what_is_out_of_its_limits_is_named_with_them(setting: dict[str, int], limits: str) -> None:
    with pytest.raises(ValueError, match=limits):
        plan(**setting)


@pytest.mark.parametrize("setting", ["part_size", "max_concurrency", "max_memory", "expected_size"])
@pytest.mark.parametrize("wrong", ["8 MiB", 8.0, True])
def test_what_is_no_int_is_named(setting: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"{setting} must be an int"):
        plan(**{setting: wrong})
