"""How many parts are worth having in flight, found out while a stream goes on.

A request to S3 carries 85 to 90 MB a second, and so many requests at once are what fills a line. Where requests are
faster than that, as they are on the way to a store nearby, something else is the limit: the line, or mostly the
processor. Then each part more in flight only costs: one more thread that waits for Python's lock, bytes that have left
the processor's cache when they are sent, and memory that larger parts could use. So a stream that goes on for long
enough tries how it fares with few:

```text
parts 1 to m           m = max_concurrency: the pipeline fills, connections are made
parts m + 1 to 2 m     how many bytes a second arrive with m parts in flight? If S3 could be what
                       limits them, at 90 MB/s a request or less, that is all: m it is
part 2 m + 1           the pipeline empties, down to two
the next four          as long as parts m + 1 to 2 m: how many bytes a second arrive with two? If
                       enough of what it was with m, and if each request is faster, two it is from
                       then on, and parts grow to what memory leaves for two; else m it is
```

Among few, four parts in a row that are as slow as S3's, or half as fast as those that were tried, say that the way has
changed. Then the pipeline empties once, since the large parts in it may leave no memory for many, and many it is again,
for good.

For S3 itself nothing is tried, and so nothing lost. Elsewhere the trial takes a few parts. That requests are faster
when there are few shows that many were in each other's way. It is what tells a line where few are enough from a
producer that is slow: then requests are no faster, however few there are. Time in which nothing was on its way counts
for nothing, and much of it among many ends the trial. A producer that pauses just long enough for the pipeline to
empty, just when it should be full, can still hide what many would have sent, half of it at the worst.

Segments try nothing: one that is run twice must be cut into the same parts.

S3's figure: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html
"""

import dataclasses
import math
from dataclasses import dataclass
from operator import attrgetter

from s3writer._upload.plan import Plan

#: A request that carries more bytes a second is not limited by S3; from the page named above.
_S3_BYTES_A_SECOND = 90_000_000
#: One part that is sent, and one that waits for its answer or for the lock.
_FEW = 2
#: Parts that go out together arrive together: of so few, the rate is taken over two rounds.
_ROUNDS = 2
#: Of the rate with many, with few. Noise takes less; where connections are the limit, two of three would take more.
_ENOUGH = 0.85
#: How much faster a request must be among few. Noise makes less of a difference, and with three or more of which two
#: send as much each is faster by half.
_FASTER = 1.25
#: Of the rate of a request among few when they were tried, what shows that the way has changed.
_SLOWER = 0.5
#: The share of the time in which something must have been on its way for many to have had their chance.
_BUSY = 0.95


@dataclass(frozen=True, slots=True)
class Arrival:
    """A part that S3 has: its bytes, and when it began to be sent and was acknowledged, in seconds of one clock."""

    number: int
    size: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class _Rates:
    """Bytes a second, of all requests together while there were any and of each, and for what share of the time there
    were any.
    """

    together: float
    each: float
    busy: float


class Pace:
    """The sizes of the parts of one upload, and how many may be in flight, as `Plan` has them to begin with.

    It is told when each part is handed over to be sent, and which have arrived.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = self._asked = plan
        self.most_in_flight = plan.max_concurrency
        #: The part that is sent when few others are in flight; infinite if there is nothing to find out any more.
        self._trial = 2 * plan.max_concurrency + 1 if plan.adapts and plan.max_concurrency > _FEW else math.inf
        self._times: list[float] = []
        self._arrivals: list[Arrival] = []
        self._number = 0
        #: Among few, how many bytes a second are too slow, and how many of the last parts were, in a row.
        self._slow_rate = 0.0
        self._slow = 0
        #: The part that is filled while no other is in flight: those before may be too large to be among many.
        self._alone = 0

    def size(self, number: int) -> int:
        """Bytes in part ``number``, which is the next to be filled. Those of a trial are as long as those before."""
        if self.most_in_flight < self.plan.max_concurrency:
            number = self.plan.max_concurrency + 1
        return self.plan.size(number)

    def in_flight(self, number: int) -> int:
        """How many other parts may be in flight while part ``number`` is being filled."""
        return 0 if number == self._alone else min(self.most_in_flight, self.plan.in_flight(number))

    def arrived(self, part: Arrival) -> None:
        """S3 has a part."""
        if self._trial < math.inf:
            self._arrivals.append(part)
        elif self.plan is not self._asked:
            self._look_again(part)

    def handed_over(self, number: int, now: float) -> None:
        """Part ``number`` is being sent from now on; ``now`` in seconds of the clock of its `Arrival`."""
        self._number = number
        if self._trial == math.inf:
            return
        self._times.append(now)
        if len(self._times) != number:
            self._settle(self.plan)
        elif number == self._trial:
            if self._rates(self.plan.max_concurrency + 1, number, 1).each > _S3_BYTES_A_SECOND:
                self.most_in_flight = _FEW
            else:
                self._settle(self.plan)
        elif number == self._trial + 1 + _ROUNDS * _FEW:
            self._decide(self.plan.max_concurrency + 1, int(self._trial), number - 1)

    def _decide(self, first: int, trial: int, last: int) -> None:
        many, few = self._rates(first, trial, first), self._rates(trial + 1, last, trial + 1)
        is_faster = few.each >= _FASTER * many.each
        if many.busy >= _BUSY and is_faster and few.together >= _ENOUGH * many.together:
            self._slow_rate = max(_S3_BYTES_A_SECOND, few.each * _SLOWER)
            self._settle(dataclasses.replace(self.plan, max_concurrency=_FEW))
        else:
            self._settle(self.plan)

    def _look_again(self, part: Arrival) -> None:
        self._slow = self._slow + 1 if part.size <= self._slow_rate * (part.ended - part.began) else 0
        if self._slow == _ROUNDS * _FEW:
            self._settle(self._asked)
            self._alone = self._number + 2

    def _settle(self, plan: Plan) -> None:
        self.plan = plan
        self.most_in_flight = plan.max_concurrency
        self._trial = math.inf
        self._times.clear()
        self._arrivals.clear()

    def _rates(self, start: int, end: int, first: int) -> _Rates:
        """From when part ``start`` was handed over until part ``end`` was; those of each from part ``first`` on. A part
        that was on its way in between for a share of its time counts by that share.
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
