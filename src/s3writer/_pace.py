"""How many parts are worth having in flight, found out while a stream goes on.

A request to S3 carries 85 to 90 MB a second, and so many requests at once are what fills a line. Where requests are
faster than that, as they are on the way to a store nearby, something else is the limit: the line, or mostly the
processor. Then each part more in flight only costs: one more thread that waits for Python's lock, bytes that have left
the processor's cache when they are sent, and memory that larger parts could use. So a stream that goes on for long
enough tries how it fares with few:

```text
parts 1 to m           m = max_concurrency: the pipeline fills, connections are made
parts m + 1 to 2 m     how many bytes a second go out with m parts in flight? If S3 could be what
                       limits them, at 90 MB/s a request or less, that is all: m it is
part 2 m + 1           the pipeline empties, down to three
the next six           how many bytes a second go out with three? If enough of what it was with m,
                       and if each request is faster, three it is from now on, and parts grow to
                       what memory leaves for three; else m it is, for good
```

For S3 itself nothing is tried, and so nothing lost. Elsewhere the trial takes a few parts. That requests are faster
when there are few shows that many were in each other's way, and is what tells a line where few are enough from a
producer that was slow for a while.

S3's figure: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html
"""

import dataclasses

from s3writer._plan import Plan

#: A request that carries more bytes a second is not limited by S3; from the page named above.
_S3_BYTES_A_SECOND = 90_000_000
#: One part that is sent, one that waits for the lock or for its answer, and one to spare.
_FEW = 3
#: Parts that go out together arrive together: a rate that is taken over less than two rounds says little.
_ROUNDS = 2
#: Of the rate with many, with few. Noise takes less; where connections are the limit, three of four would take more.
_ENOUGH = 0.85
#: How much faster a request must be among few. Noise makes less of a difference, and with four or more of which three
#: send as much each is faster by a third.
_FASTER = 1.15


class Pace:
    """The sizes of the parts of one upload, and how many may be in flight, as `Plan` has them to begin with.

    It is told of each part, at which number it is handed over to be sent, and how long it took to arrive.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.most_in_flight = plan.max_concurrency
        self._trial = 2 * plan.max_concurrency + 1 if plan.adapts and plan.max_concurrency > _FEW else 0
        self._mark: tuple[float, int] | None = None
        self._rate = self._request_rate = 0.0
        self._arrived_bytes = 0
        self._arrived_seconds = 0.0

    def size(self, number: int) -> int:
        """Bytes in part ``number``, which is the next to be filled."""
        return self.plan.size(number)

    def in_flight(self, number: int) -> int:
        """How many other parts may be in flight while part ``number`` is being filled."""
        return min(self.most_in_flight, self.plan.in_flight(number))

    def arrived(self, size: int, seconds: float) -> None:
        """S3 has a part of ``size`` bytes, that long after its sending began."""
        self._arrived_bytes += size
        self._arrived_seconds += seconds

    def handed_over(self, number: int, total: int, now: float) -> None:
        """Part ``number`` is being sent from now on, with it ``total`` bytes; ``now`` in seconds of any clock."""
        if number == self._trial - self.plan.max_concurrency:
            self._begin_to_measure(total, now)
        elif number == self._trial and self._mark:
            self._rate, self._request_rate = self._measured(total, now), self._measured_request()
            if self._request_rate > _S3_BYTES_A_SECOND:
                self.most_in_flight = _FEW
        elif self.most_in_flight == _FEW < self.plan.max_concurrency:
            self._try_few(number, total, now)

    def _try_few(self, number: int, total: int, now: float) -> None:
        if number == self._trial + 1:
            self._begin_to_measure(total, now)
        elif number == self._trial + 1 + _ROUNDS * _FEW:
            is_faster = self._measured_request() >= _FASTER * self._request_rate
            if is_faster and self._measured(total, now) >= _ENOUGH * self._rate:
                self.plan = dataclasses.replace(self.plan, max_concurrency=_FEW)
            self.most_in_flight = self.plan.max_concurrency

    def _begin_to_measure(self, total: int, now: float) -> None:
        self._mark = now, total
        self._arrived_bytes, self._arrived_seconds = 0, 0.0

    def _measured(self, total: int, now: float) -> float:
        """Bytes handed over in a second, since the mark."""
        began, before = self._mark or (now, total)
        return (total - before) / max(now - began, 1e-9)

    def _measured_request(self) -> float:
        """Bytes that each request carried in a second, of those that arrived since the mark."""
        return self._arrived_bytes / max(self._arrived_seconds, 1e-9)
