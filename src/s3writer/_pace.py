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
the next four          how many bytes a second arrive with two? If enough of what it was with m,
                       and if each request is faster, two it is from now on, and parts grow to
                       what memory leaves for two; else m it is, for good
```

For S3 itself nothing is tried, and so nothing lost. Elsewhere the trial takes a few parts. That requests are faster
when there are few shows that many were in each other's way, and is what tells a line where few are enough from a
producer that was slow for a while. Segments try nothing: one that is run twice must be cut into the same parts.

S3's figure: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html
"""

import dataclasses
import math
from dataclasses import dataclass

from s3writer._plan import Plan

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


@dataclass(slots=True)
class _Window:
    """What has arrived since ``began``, a time in seconds: its bytes, and for how many seconds it was on its way."""

    began: float
    size: int = 0
    seconds: float = 0.0

    def rates(self, now: float) -> tuple[float, float]:
        """Bytes a second, of all requests together and of each."""
        return self.size / max(now - self.began, 1e-9), self.size / max(self.seconds, 1e-9)


class Pace:
    """The sizes of the parts of one upload, and how many may be in flight, as `Plan` has them to begin with.

    It is told when each part is handed over to be sent, and how long it took to arrive.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.most_in_flight = plan.max_concurrency
        self._trial = 2 * plan.max_concurrency + 1 if plan.adapts and plan.max_concurrency > _FEW else math.inf
        self._window: _Window | None = None
        self._with_many = 0.0, 0.0

    def size(self, number: int) -> int:
        """Bytes in part ``number``, which is the next to be filled."""
        return self.plan.size(number)

    def in_flight(self, number: int) -> int:
        """How many other parts may be in flight while part ``number`` is being filled."""
        return min(self.most_in_flight, self.plan.in_flight(number))

    def arrived(self, size: int, seconds: float) -> None:
        """S3 has a part of ``size`` bytes, that long after its sending began."""
        if self._window:
            self._window.size += size
            self._window.seconds += seconds

    def handed_over(self, number: int, now: float) -> None:
        """Part ``number`` is being sent from now on; ``now`` in seconds of any clock."""
        if number in (self._trial - self.plan.max_concurrency, self._trial + 1):
            self._window = _Window(now)
        elif number == self._trial and self._window:
            self._with_many = self._window.rates(now)
            if self._with_many[1] > _S3_BYTES_A_SECOND:
                self.most_in_flight = _FEW
        elif number == self._trial + 1 + _ROUNDS * _FEW and self._window and self.most_in_flight == _FEW:
            self._decide(*self._with_many, *self._window.rates(now))

    def _decide(self, together: float, each: float, few_together: float, few_each: float) -> None:
        if few_each >= _FASTER * each and few_together >= _ENOUGH * together:
            self.plan = dataclasses.replace(self.plan, max_concurrency=_FEW)
        self.most_in_flight = self.plan.max_concurrency
