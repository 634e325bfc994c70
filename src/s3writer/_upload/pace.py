"""Finds out how many parts should be in flight, while the stream is being sent.

One request to S3 carries 85 to 90 MB a second, so only many requests at once fill a fast line. If requests are faster,
as they are to a store nearby, something else is the limit: the line, or more often the processor. Then each further
part in flight does harm: one more thread waits for Python's lock, bytes leave the processor's cache before they are
sent, and the memory could make the other parts larger.

S3 takes some 30 ms to begin an upload, and a store nearby takes a few ms. Parts are filled meanwhile, and then all go
out at once. After that, up to ``f`` parts are in flight. If the first parts turn out to be as slow as parts to S3 are,
up to ``max_concurrency`` are in flight for good. If they are faster, and the stream is long enough, it tries few, and
compares. These are the phases; ``m`` is ``max_concurrency``:

```text
phase      parts                what happens
BEGINNING  1 to m at the most   S3 is asked to begin the upload. When it has, go to FILLING. f is m if S3 took 15 ms or
                                more, else 7, or as many as have waited if these are more; but not more than m.
FILLING    1 to 2 f             The pipeline fills, and connections are made. If four parts have arrived, and were no
                                faster than S3 at its best (90 MB/s, and 15 ms for the answer), go to MANY. From part
                                f + 1 on, measure the rate of all requests together, and of each. If each has 90 MB/s
                                or less, S3 may be the limit: go to MANY. Else go to COMPARING.
COMPARING  2 f + 1 and 4 more,  The pipeline empties down to two parts. Then measure the rates with two in flight, and
           or 8 more            parts as large as before. If two send nearly as much as f, and each request got faster,
                                go to FEW. If each got faster, but two send less, measure four more parts, once:
                                something else may have taken the processor. Else go to MANY.
FEW        all others           Two parts are in flight, as large as memory allows.
MANY       all others           m parts are in flight, for good.
```

If requests get faster when fewer run, they had hindered each other: use few. If they don't, the producer is slow: keep
many. Time without any request does not count. If there was much of it with many parts, keep many. The comparison can
still err: if the producer pauses exactly while the pipeline empties, FEW may send less than half of what MANY would.

With few parts in flight, four slow parts in a row mean that the network has slowed down. Slow means 90 MB/s or less, or
half the rate that the comparison measured. Then the pipeline empties once, since its large parts may leave no memory
for many, and the phase is MANY.

Segments compare nothing: a segment that is run twice must be cut into the same parts.

S3's figure: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html
"""

import dataclasses
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from s3writer._upload.plan import FIRST_IN_FLIGHT, Plan

#: If a request carries more bytes a second, S3 is not the limit; from the page named above.
_S3_BYTES_A_SECOND = 90_000_000
#: S3 takes at least so long to answer, and usually twice as long. A store nearby takes a few milliseconds.
_S3_SECONDS = 0.015
#: How many parts tell how fast they are. Parts that are sent together arrive together: of two in flight, these are two
#: rounds.
_ENOUGH_PARTS = 4
#: While one part is being sent, the other waits for its answer or for Python's lock.
_FEW = 2
#: Few parts must reach this share of the rate of many. The gap to 1 is more than noise. If connections are the limit,
#: two of three reach less.
_ENOUGH = 0.85
#: With few parts, each request must be faster by this factor. The gain is more than noise. If two requests send as much
#: as three or more did, each is faster by half.
_FASTER = 1.25
#: A request is slow at this share of the rate that each of few reached in the comparison.
_SLOWER = 0.5
#: The comparison is fair if, with many parts, something was in flight for this share of the time.
_BUSY = 0.95


class Phase(Enum):
    """Where the search for the right number of parts in flight stands."""

    BEGINNING = "many are filled, and wait until S3 has begun the upload"
    FILLING = "the first ones in flight, measured"
    COMPARING = "few in flight, measured"
    FEW = "few in flight, until they get slow"
    MANY = "many in flight, for good"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A part that S3 has: its size in bytes, and when its thread began and ended, in seconds of one clock."""

    number: int
    size: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class _Rates:
    """Bytes a second: of all requests together, while any ran, and of each request. ``busy`` is the share of the time
    in which any ran.
    """

    together: float
    each: float
    busy: float


class Pace:
    """The sizes of the parts of one upload, and how many may be in flight. It starts with what `Plan` says."""

    def __init__(self, plan: Plan) -> None:
        self.plan = self._first_plan = plan
        self.phase = Phase.BEGINNING if plan.adapts and plan.max_concurrency > _FEW else Phase.MANY
        #: While rates are measured: when each part was handed over, and the parts that arrived.
        self._times: list[float] = []
        self._arrivals: list[Arrival] = []
        self._last_number = 0
        #: In phase FEW: a part at this rate or less, in bytes a second, is slow; and how many slow parts came in a row.
        self._slow_rate = 0.0
        self._slow_parts = 0
        #: While this part is filled, no other is in flight: the parts before it may be too large for many in flight.
        self._lone_part = 0
        #: How many are in flight in phase FILLING.
        self._first = min(plan.max_concurrency, FIRST_IN_FLIGHT)

    @property
    def most_in_flight(self) -> int:
        """How many parts may be in flight at the most."""
        return {Phase.FILLING: self._first, Phase.COMPARING: _FEW}.get(self.phase, self.plan.max_concurrency)

    def begun(self, seconds: float) -> None:
        """Note that S3 took so many seconds to begin the upload, and that what was handed over is now being sent."""
        if self.phase is Phase.BEGINNING:
            self.phase = Phase.FILLING
            is_far = seconds >= _S3_SECONDS
            self._first = self.plan.max_concurrency if is_far else max(self._first, self._last_number)

    def size(self, number: int) -> int:
        """Bytes in part ``number``, which is the next to be filled. Sizes don't grow while rates are measured."""
        is_measuring = self.phase in (Phase.FILLING, Phase.COMPARING)
        return self.plan.size(min(number, self._first + 1) if is_measuring else number)

    def in_flight(self, number: int) -> int:
        """How many other parts may be in flight while part ``number`` is being filled."""
        return 0 if number == self._lone_part else min(self.most_in_flight, self.plan.in_flight(number))

    def arrived(self, part: Arrival) -> None:
        """Note that S3 has a part."""
        if self.phase in (Phase.FILLING, Phase.COMPARING):
            self._arrivals.append(part)
            if self.phase is Phase.FILLING and self._is_as_slow_as_s3():
                self._end_with(Phase.MANY, self.plan)
        elif self.phase is Phase.FEW:
            self._check_speed(part)

    def handed_over(self, number: int, now: float) -> None:
        """Note that part ``number`` is being sent from now on, in seconds of the clock of its `Arrival`."""
        self._last_number = number
        if self.phase in (Phase.MANY, Phase.FEW):
            return
        self._times.append(now)
        most = self._first
        last_of_many = 2 * most + 1
        if len(self._times) != number:
            self._end_with(Phase.MANY, self.plan)  # a resumed upload has not seen its first parts, and can't compare
        elif self.phase is Phase.FILLING and number == last_of_many:
            if self._rates(most + 1, number, 1).each > _S3_BYTES_A_SECOND:
                self.phase = Phase.COMPARING
            else:
                self._end_with(Phase.MANY, self.plan)
        elif self.phase is Phase.COMPARING:
            measured = number - last_of_many - 1
            if measured in (_ENOUGH_PARTS, 2 * _ENOUGH_PARTS):
                self._compare(last_of_many, number, is_last=measured > _ENOUGH_PARTS)

    def _is_as_slow_as_s3(self) -> bool:
        """Whether the first parts took as long as S3 takes at its best."""
        if len(self._arrivals) < _ENOUGH_PARTS:
            return False
        seconds = sum(part.ended - part.began for part in self._arrivals)
        size = sum(part.size for part in self._arrivals)
        return seconds >= size / _S3_BYTES_A_SECOND + len(self._arrivals) * _S3_SECONDS

    def _compare(self, last_of_many: int, number: int, *, is_last: bool) -> None:
        """Compare the last parts before ``number``, with few in flight, with those up to ``last_of_many``."""
        many = self._rates(self._first + 1, last_of_many, self._first + 1)
        few = self._rates(number - _ENOUGH_PARTS, number - 1, number - _ENOUGH_PARTS)
        hindered_each_other = many.busy >= _BUSY and few.each >= _FASTER * many.each
        if hindered_each_other and few.together >= _ENOUGH * many.together:
            self._slow_rate = max(_S3_BYTES_A_SECOND, few.each * _SLOWER)
            self._end_with(Phase.FEW, dataclasses.replace(self.plan, max_concurrency=_FEW))
        elif is_last or not hindered_each_other:
            self._end_with(Phase.MANY, self.plan)

    def _check_speed(self, part: Arrival) -> None:
        is_slow = part.size <= self._slow_rate * (part.ended - part.began)
        self._slow_parts = self._slow_parts + 1 if is_slow else 0
        if self._slow_parts == _ENOUGH_PARTS:
            self._end_with(Phase.MANY, self._first_plan)
            self._lone_part = self._last_number + 2

    def _end_with(self, phase: Phase, plan: Plan) -> None:
        self.phase = phase
        self.plan = plan
        self._times.clear()
        self._arrivals.clear()

    def _rates(self, start: int, end: int, first: int) -> _Rates:
        """The rates between the handing over of part ``start`` and of part ``end``. Only parts from ``first`` on count
        for the rate of each request. Of a part that was in flight before or after, the share within that time counts.
        """
        start_time, end_time = self._times[start - 1], self._times[end - 1]
        together = busy = each = seconds = 0.0
        covered = start_time
        for part in sorted(self._arrivals, key=attrgetter("began")):
            began, ended = max(part.began, start_time), min(part.ended, end_time)
            if began >= ended:
                continue
            size = part.size * (ended - began) / (part.ended - part.began)
            together += size
            busy += max(0.0, ended - max(began, covered))
            covered = max(covered, ended)
            if part.number >= first:
                each += size
                seconds += ended - began
        return _Rates(together / (busy or 1), each / (seconds or 1), busy / (end_time - start_time or 1))
