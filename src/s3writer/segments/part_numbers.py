"""Divides S3's 10,000 part numbers among segments before anybody knows how long these will be.

Each segment gets a block of consecutive numbers, after the block of the segment before it. The first number of a block
is for the bytes before the segment's own parts, and the others are for these parts. The last of all numbers is for the
bytes after the last segment. A segment may use fewer numbers than it has; then there is a gap.

If the number of segments is known, each gets an even share of the free numbers. Otherwise it gets the share that it
would have if four more windows of segments were to come. So blocks get smaller, but numbers never run out all at once.
If few numbers are free, and more were left unused, wait until no segment is running. Then continue after the last
number that was used, so that the numbers which short segments left unused are used again.
"""

from s3writer._upload.plan import MAX_PARTS

#: How many numbers segments can have: all but the last.
NUMBERS = MAX_PARTS - 1
#: The smallest block: one number for the bytes before a segment's own parts, and one for a part.
LEAST = 2
MAX_SEGMENTS = NUMBERS // LEAST

_WINDOWS_AHEAD = 4
_FEW = 8


class Numbers:
    """The blocks of one object's segments, of which ``window`` may be running at once."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._next = 1
        self._used = 0

    def share(self, to_come: int | None) -> int:
        """How many numbers the next segment gets if ``to_come`` segments will come. Fewer than `LEAST` are too few."""
        free = NUMBERS + 1 - self._next
        if to_come is None:
            share = max(free // (_WINDOWS_AHEAD * self._window), min(_FEW, free // self._window))
        else:
            share = free // max(1, to_come)
        return min(free, max(LEAST, share))

    def should_wait(self, to_come: int | None) -> bool:
        """Whether to wait until all running segments have ended, and then `begin_anew`, before the next one."""
        free, unused = NUMBERS + 1 - self._next, self._next - 1 - self._used
        return self.share(to_come) < _FEW and unused > free

    def take(self, share: int) -> int:
        """Give away a block. Returns its first number."""
        first = self._next
        self._next += share
        return first

    def use(self, number: int) -> None:
        """Note that ``number`` was used, and none after it."""
        self._used = number

    def begin_anew(self) -> None:
        """Continue after the last number that was used. No segment may be running."""
        self._next = self._used + 1
