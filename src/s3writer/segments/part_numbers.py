"""S3's 10,000 part numbers, divided among segments before anybody knows how long they will be.

Each segment gets a block of consecutive numbers, behind that of the segment before it: the first is for the bytes that
stand before its own parts, the others are for those parts. The last number of all is left for what stands behind the
last segment. How many a segment uses shows when it has ended; what it leaves unused is a gap.

If it is known how many segments will come, each gets its share of what is free. Otherwise it gets the share that it
would have if as many were to come as four windows hold: numbers grow scarce slowly, and never run out all at once.
When few are left and more lie unused behind, it is best to wait until no segment is under way: then numbers go on from
the last one that was used, and what short segments have left unused is used again.
"""

from s3writer._upload.plan import MAX_PARTS

#: All but the last one.
NUMBERS = MAX_PARTS - 1
#: One number for what stands before a segment's own parts, and one for a part.
LEAST = 2
MAX_SEGMENTS = NUMBERS // LEAST

_WINDOWS_AHEAD = 4
_FEW = 8


class Numbers:
    """The blocks of one object's segments; ``window`` of them are under way at once."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._next = 1
        self._used = 0

    def share(self, to_come: int | None) -> int:
        """How many numbers the next segment gets, of so many ``to_come``; fewer than `LEAST` are none."""
        free = NUMBERS + 1 - self._next
        if to_come is None:
            share = max(free // (_WINDOWS_AHEAD * self._window), min(_FEW, free // self._window))
        else:
            share = free // max(1, to_come)
        return min(free, max(LEAST, share))

    def should_wait(self, to_come: int | None) -> bool:
        """Whether to `begin_anew` before the next segment, once those that are under way have ended."""
        free, unused = NUMBERS + 1 - self._next, self._next - 1 - self._used
        return self.share(to_come) < _FEW and unused > free

    def take(self, share: int) -> int:
        """Give away a block; its first number."""
        first = self._next
        self._next += share
        return first

    def use(self, number: int) -> None:
        """Note that ``number`` was used, and none after it."""
        self._used = number

    def begin_anew(self) -> None:
        """Go on behind the last number that was used; for when no segment is under way."""
        self._next = self._used + 1
