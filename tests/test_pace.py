"""How many parts are in flight: many where S3 is the limit, few where few send as much."""

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3writer._upload import pace as _pace
from s3writer._upload.pace import Arrival, Pace, Phase
from s3writer._upload.plan import DEFAULT_CONCURRENCY, FIRST_IN_FLIGHT, GIB, MIN_PART_BYTES, make_plan
from s3writer.segments.segment import SegmentPlan
from tests.helpers import MIB, content, data, writer

MB = 1_000_000
#: The parts of a plan with nothing set, while many are in flight.
USUAL = 6 * MIB
#: What they carry at S3's best and 30 ms for each answer, in bytes a second.
FULL = DEFAULT_CONCURRENCY * USUAL / (USUAL / (90 * MB) + 0.03)


@dataclass
class Part:
    """One that is under way: the bytes that are still to be sent, and the seconds until the answer comes after that."""

    number: int
    size: int
    began: float
    left: float
    latency: float


class Line:
    """A stream sent as fast as can be: each request carries ``each`` bytes a second at the most, and all together
    ``together``; S3 takes ``latency`` seconds to answer. ``producer`` is how many bytes a second are made. S3 takes
    ``begins`` seconds to begin the upload, once the first part is full.
    """

    def __init__(
        self,
        each: float,
        together: float,
        latency: float = 0.03,
        producer: float = math.inf,
        begins: float = 0.0,
        **settings: Any,
    ) -> None:
        plan = make_plan(**{"part_size": MIN_PART_BYTES, "max_concurrency": DEFAULT_CONCURRENCY, **settings})
        self.each, self.together, self.latency, self.producer = each, together, latency, producer
        self.pace = Pace(plan)
        self.begins = self.asked = begins
        if not begins:
            self.pace.begun(0.0)
        self.number = self.total = 0
        self.now = 0.0
        self.under_way: list[Part] = []
        self.most_bytes = 0
        self.arrived = 0

    def send(self, size: int, pauses: Mapping[int, float] | None = None) -> None:
        """Go on until so many bytes were handed over, with pauses of the producer before some parts."""
        while self.total < size:
            part = self.pace.size(self.number + 1)
            self.wait(self.pace.in_flight(self.number + 1))
            self.advance(part / self.producer + (pauses or {}).get(self.number + 1, 0.0))
            self.most_bytes = max(self.most_bytes, part + sum(other.size for other in self.under_way))
            self.wait(self.pace.most_in_flight - 1)
            self.number += 1
            self.total += part
            if self.number == 1:
                self.asked = self.now
                self.begins += self.now
            self.pace.handed_over(self.number, self.now)
            self.under_way.append(Part(self.number, part, self.now, part, self.latency))

    def wait(self, most: int) -> None:
        while len(self.under_way) > most:
            self.step(math.inf)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.under_way and self.now < end:
            self.step(end - self.now)
        self.now = max(self.now, end)

    def step(self, most: float) -> None:
        """Go to when the next part is sent or answered, so many seconds at the most."""
        if self.now < self.begins:
            self.now = min(self.begins, self.now + most)
            if self.now == self.begins:
                self.pace.begun(self.now - self.asked)
                for part in self.under_way:
                    part.began = self.now
            return
        rate = min(self.each, self.together / max(1, sum(part.left > 0 for part in self.under_way)))
        seconds = min(most, *(part.left / rate or part.latency for part in self.under_way))
        self.now += seconds
        for part in self.under_way:
            if part.left:
                part.left = left if (left := part.left - seconds * rate) >= 1 else 0.0
            else:
                part.latency -= seconds
        for part in [part for part in self.under_way if not part.left and part.latency <= 1e-9]:
            self.under_way.remove(part)
            self.arrived += 1
            self.pace.arrived(Arrival(part.number, part.size, part.began, self.now))


@pytest.mark.parametrize("latency", [0.016, 0.03, 0.2])
@pytest.mark.parametrize("each", [20 * MB, 60 * MB, 90 * MB])
def test_to_s3_itself_many_go_out_from_the_first_to_the_last(each: float, latency: float) -> None:
    line = Line(each, 1e12, latency)
    for size in [*range(10 * MIB, 400 * MIB, 5 * MIB), *range(GIB, 9 * GIB, GIB)]:
        line.send(size)
        assert line.pace.most_in_flight == (DEFAULT_CONCURRENCY if line.arrived >= 4 else FIRST_IN_FLIGHT)
        assert line.pace.plan == make_plan(part_size=MIN_PART_BYTES, max_concurrency=DEFAULT_CONCURRENCY)


def test_what_was_filled_while_s3_began_the_upload_goes_out_at_once() -> None:
    line = Line(90 * MB, 1e12, producer=2500 * MB, begins=0.03)
    line.send(70 * MIB)
    assert (line.now < line.begins, len(line.under_way)) == (True, 13)
    line.send(GIB)
    assert line.total / line.now > 0.8 * FULL


@pytest.mark.parametrize(("begins", "most"), [(0.014, FIRST_IN_FLIGHT), (0.015, DEFAULT_CONCURRENCY)])
def test_where_s3_takes_long_to_begin_many_go_out_before_a_part_has_arrived(begins: float, most: int) -> None:
    line = Line(90 * MB, 1e12, producer=2000 * MB, begins=begins)
    line.send(35 * MIB)
    line.advance(begins)
    assert (line.pace.most_in_flight, line.arrived) == (most, 0)


def test_no_more_than_may_be_in_flight_are_filled_while_s3_begins_the_upload() -> None:
    line = Line(90 * MB, 1e12, begins=60.0)
    line.send(112 * MIB)
    assert (line.now, len(line.under_way)) == (0.0, DEFAULT_CONCURRENCY)
    line.send(114 * MIB)
    assert line.now > 60


@pytest.mark.parametrize("begins", [0.003, 0.012])
def test_where_s3_is_near_as_many_go_out_at_first_as_ever(begins: float) -> None:
    line = Line(1e12, 1000 * MB, 0.001, producer=1500 * MB, begins=begins)
    line.send(70 * MIB)
    assert (line.pace.phase, line.pace.most_in_flight) == (Phase.FILLING, FIRST_IN_FLIGHT)
    line.send(2 * GIB)
    assert (line.pace.phase, line.pace.most_in_flight) == (Phase.FEW, 2)


def test_a_store_that_takes_long_to_begin_and_has_fast_requests_is_measured_on() -> None:
    line = Line(1e12, 3000 * MB, 0.001, producer=5000 * MB, begins=0.2)
    line.send(200 * MIB)
    assert (line.pace.phase, line.pace.most_in_flight) == (Phase.FILLING, DEFAULT_CONCURRENCY)
    line.send(2 * GIB)
    assert (line.pace.phase, line.pace.most_in_flight) == (Phase.FEW, 2)


def test_what_takes_as_long_as_s3_has_many_in_flight_as_soon_as_four_parts_tell() -> None:
    pace = Pace(make_plan(part_size=MIN_PART_BYTES, max_concurrency=DEFAULT_CONCURRENCY))
    pace.begun(0.0)
    for number in range(1, 8):
        pace.handed_over(number, 0.0)
    for number in range(1, 5):
        assert pace.most_in_flight == FIRST_IN_FLIGHT
        pace.arrived(Arrival(number, 5 * MIB, 0.0, 5 * MIB / 90e6 + 0.016))
    assert (pace.phase, pace.most_in_flight) == (Phase.MANY, DEFAULT_CONCURRENCY)


def test_what_answers_sooner_than_s3_is_measured_on() -> None:
    pace = Pace(make_plan(part_size=MIN_PART_BYTES, max_concurrency=DEFAULT_CONCURRENCY))
    pace.begun(0.0)
    for number in range(1, 8):
        pace.handed_over(number, 0.0)
        pace.arrived(Arrival(number, 5 * MIB, 0.0, 5 * MIB / 90e6 + 0.014))
    assert (pace.phase, pace.most_in_flight) == (Phase.FILLING, FIRST_IN_FLIGHT)


def test_many_are_never_less_than_the_first() -> None:
    line = Line(60 * MB, 1e12, max_concurrency=4)
    line.send(GIB)
    assert (line.pace.phase, line.pace.most_in_flight) == (Phase.MANY, 4)


def test_s3_s_line_is_full_with_nothing_set() -> None:
    line = Line(90 * MB, 1e12)
    line.send(2 * GIB)
    assert line.total / line.now > 0.85 * FULL


@pytest.mark.parametrize("each", [150 * MB, 400 * MB, 2000 * MB])
def test_where_each_connection_adds_to_the_rate_many_it_is_for_good(each: float) -> None:
    line = Line(each, 1e12, 0.001)
    line.send(3 * GIB)
    assert (line.pace.most_in_flight, line.pace.size(line.number)) == (DEFAULT_CONCURRENCY, USUAL)
    line.send(8 * GIB)
    assert (line.pace.in_flight(line.number), line.pace.size(line.number)) == (FIRST_IN_FLIGHT, 16 * MIB)


@pytest.mark.parametrize("together", [700 * MB, 1000 * MB, 3000 * MB])
def test_where_few_send_as_much_few_go_out_and_their_parts_grow(together: float) -> None:
    line = Line(1e12, together, 0.001)
    line.send(GIB)
    assert line.pace.most_in_flight == 2
    assert line.pace.size(line.number) == 42 * MIB
    assert line.number < 45


#: How many parts were handed over when the comparison begins, when it tells, and when the second one does.
MANY_MEASURED, COMPARED, COMPARED_TWICE = (2 * FIRST_IN_FLIGHT + 1 + more for more in (0, 5, 9))


def send_parts(line: Line, number: int) -> None:
    """Go on until so many parts were handed over."""
    while line.number < number:
        line.send(line.total + 1)


@pytest.mark.parametrize(("slow_parts", "most"), [(COMPARED, 2), (COMPARED_TWICE, DEFAULT_CONCURRENCY)])
def test_a_comparison_that_something_else_slowed_down_is_made_once_more(slow_parts: int, most: int) -> None:
    line = Line(1e12, 1000 * MB, 0.001)
    send_parts(line, MANY_MEASURED)
    line.together = 500 * MB
    send_parts(line, COMPARED)
    assert (line.pace.phase, line.pace.most_in_flight) == (Phase.COMPARING, 2)
    send_parts(line, slow_parts)
    line.together = 1000 * MB
    send_parts(line, COMPARED_TWICE)
    assert line.pace.most_in_flight == most


def test_where_requests_did_not_hinder_each_other_one_comparison_tells() -> None:
    line = Line(150 * MB, 1e12, 0.001)
    send_parts(line, COMPARED - 1)
    assert line.pace.most_in_flight == 2
    send_parts(line, COMPARED)
    assert line.pace.most_in_flight == DEFAULT_CONCURRENCY


@pytest.mark.parametrize("each", [20 * MB, 80 * MB, 200 * MB])
def test_where_requests_become_slow_many_it_is_again(each: float) -> None:
    line = Line(1e12, 1000 * MB, 0.001)
    line.send(GIB)
    assert line.pace.most_in_flight == 2
    line.each = each
    line.send(2 * GIB)
    began, before = line.now, line.total
    line.send(4 * GIB)
    assert (line.pace.most_in_flight, line.pace.size(line.number)) == (DEFAULT_CONCURRENCY, USUAL)
    assert (line.total - before) / (line.now - began) > 0.8 * min(6 * each, line.together)


def test_a_request_as_slow_as_s3_s_is_slow_whatever_it_was_before() -> None:
    line = Line(1e12, 300 * MB, 0.001, max_concurrency=3)
    line.send(GIB)
    assert line.pace.most_in_flight == 2
    line.each = 85 * MB
    line.send(2 * GIB)
    assert line.pace.most_in_flight == 3


def test_a_few_slow_requests_change_nothing_unless_they_come_in_a_row() -> None:
    line = Line(1e12, 1000 * MB, 0.001)
    line.send(GIB)
    for seconds, most in [(10.0, 2)] * 3 + [(0.1, 2)] + [(10.0, 2)] * 3 + [(10.0, DEFAULT_CONCURRENCY)]:
        line.pace.arrived(Arrival(line.number, 42 * MIB, 0.0, seconds))
        assert line.pace.most_in_flight == most


@given(
    each=st.floats(MB, 5000 * MB),
    together=st.floats(MB, 5000 * MB),
    latency=st.floats(0, 0.5),
    max_concurrency=st.integers(1, 40),
    memory_parts=st.integers(1, 100),
    later=st.floats(MB, 5000 * MB),
)
@example(each=5000 * MB, together=1000 * MB, latency=0.001, max_concurrency=7, memory_parts=26, later=80 * MB)
def test_memory_stays_within_its_bound_whatever_is_found_out(
    each: float, together: float, latency: float, max_concurrency: int, memory_parts: int, later: float
) -> None:
    memory = memory_parts * 5 * MIB
    line = Line(each, together, latency, max_concurrency=max_concurrency, max_memory=memory)
    line.send(2 * GIB)
    line.each = later
    line.send(4 * GIB)
    assert line.most_bytes <= memory
    assert 1 <= line.pace.most_in_flight <= max_concurrency


@pytest.mark.parametrize("max_concurrency", [1, 2])
def test_few_are_not_tried_where_no_more_were_asked_for(max_concurrency: int) -> None:
    line = Line(1e12, 1000 * MB, 0.0, max_concurrency=max_concurrency)
    line.send(2 * GIB)
    assert line.pace.most_in_flight == max_concurrency


def test_equal_parts_stay_equal() -> None:
    line = Line(1e12, 1000 * MB, 0.001, equal_parts=True)
    line.send(GIB)
    assert (line.pace.most_in_flight, line.pace.size(9_999)) == (2, MIN_PART_BYTES)


PAUSES = [
    {},
    {9: 0.5},
    {12: 0.5},
    {15: 0.5},
    {9: 0.5, 17: 0.05},
    dict.fromkeys(range(8, 15), 0.1),
    dict.fromkeys(range(8, 15), 0.02),
    {20: 0.05, 21: 0.05},
    {19: 0.5, 22: 0.05},
    dict.fromkeys(range(1, 23), 0.5),
]


@pytest.mark.parametrize("latency", [0.001, 0.01, 0.03])
@pytest.mark.parametrize("pauses", PAUSES)
@pytest.mark.no_cover
def test_two_are_chosen_only_where_they_send_about_as_much(latency: float, pauses: Mapping[int, float]) -> None:
    for each in (100, 150, 250, 400):
        for together in (300, 500, 900, 2000, 1_000_000):
            line = Line(each * MB, together * MB, latency, 2000 * MB)
            line.send(GIB, pauses)
            if line.pace.most_in_flight == 2:
                assert 2 * each >= 0.84 * min(7 * each, together)


@pytest.mark.parametrize("each", [120 * MB, 150 * MB, 400 * MB])
@pytest.mark.parametrize("latency", [0.001, 0.01, 0.03])
@pytest.mark.parametrize("producer", [100 * MB, 200 * MB, 500 * MB])
def test_a_slow_producer_does_not_lose_its_connections(each: float, latency: float, producer: float) -> None:
    line = Line(each, 1e12, latency, producer)
    line.send(2 * GIB)
    assert line.pace.most_in_flight == DEFAULT_CONCURRENCY


@pytest.mark.parametrize("is_segment", [False, True])
def test_segments_are_cut_into_the_same_parts_whatever_the_line(is_segment: bool) -> None:
    plan = make_plan(part_size=MIN_PART_BYTES, max_concurrency=DEFAULT_CONCURRENCY)
    if is_segment:
        plan = SegmentPlan(**dataclasses.asdict(plan), parts=1000, steady=0)
    pace = Pace(plan)
    pace.begun(0.0)
    for number in range(1, 40):
        pace.handed_over(number, float(number))
        pace.arrived(Arrival(number, GIB, float(number), number + (2.0 if number < 15 else 1.0)))
    assert (pace.plan == plan) is is_segment


@pytest.mark.parametrize("first", [2, 8, 15, 16, 100])
def test_an_upload_that_goes_on_behind_the_first_parts_tries_nothing(first: int) -> None:
    pace = Pace(make_plan(part_size=MIN_PART_BYTES, max_concurrency=DEFAULT_CONCURRENCY))
    pace.begun(0.0)
    for number in range(first, first + 100):
        pace.handed_over(number, float(number))
        pace.arrived(Arrival(number, GIB, float(number), number + 1.0))
    assert (pace.phase, pace.most_in_flight) == (Phase.MANY, DEFAULT_CONCURRENCY)


def test_a_clock_that_stands_still_breaks_nothing() -> None:
    pace = Pace(make_plan(part_size=MIN_PART_BYTES, max_concurrency=DEFAULT_CONCURRENCY))
    pace.begun(0.0)
    for number in range(1, 100):
        pace.handed_over(number, 5.0)
        pace.arrived(Arrival(number, 5 * MIB, 5.0, 5.0))
    assert (pace.phase, pace.most_in_flight) == (Phase.MANY, DEFAULT_CONCURRENCY)


def test_a_writer_goes_on_with_few_and_with_many_again(client: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pace, "_S3_BYTES_A_SECOND", 1)
    monkeypatch.setattr(_pace, "_ENOUGH", 0.0)
    monkeypatch.setattr(_pace, "_FASTER", 0.0)
    payload, seen = data(5 * MIB), []
    with writer(client, key, max_concurrency=4, max_memory=25 * MIB) as stream:
        for _ in range(24):
            stream.write(payload)
            seen.append(stream.parts_in_flight)
        pace = stream._upload.pipeline._pace
        assert max(seen[10:]) <= pace.most_in_flight == 2
        assert pace.size(1000) == 8 * MIB
        assert stream._upload.pipeline.ledger.next_part == 21
        pace._slow_rate = 1e12
        held = []
        while stream.tell() < 200 * MIB:
            stream.write(payload)
            held.append(sys.getsizeof(stream._intake._part._memory))
        assert pace.most_in_flight == 4
        assert pace.size(1000) == 5 * MIB
        assert max(held[-5:]) <= 6 * MIB
    assert content(client, key) == payload * 40
