"""How large part n is, and how many parts may be in flight beside it.

S3 takes at most 10,000 parts of 5 MiB to 5 GiB each. Only the last part may be smaller. Small parts are sent soon and
take little memory. Large parts spend less time on the fixed cost of a request, and make longer objects possible. A
short stream should have small parts, and a long one large parts. If the length is unknown, parts grow with their
number ``n``:

```text
cap      = memory // (in_flight + 1), in whole MiB
doubled  = part_size * 2 ** ((n - 1) // doubles_after)
demanded = 168 KiB * (n - 2,000)
size(n)  = max(part_size, min(doubled, cap), demanded)
```

No part is larger than the *ceiling*, see below. ``doubles_after`` is 7, or ``max_concurrency`` if that is less.

*Doubled* makes the fixed cost of a request negligible. The *cap* limits doubled parts, so that ``in_flight`` of them
and the part being filled fit into ``memory``. ``in_flight`` is ``max_concurrency``. Only if that is 20, the default,
and ``max_memory`` is not given, it is 20 for the first 700 parts, and 7 after them. For 20 parts of 6 MiB nearly fill a
line of 10 Gbit/s, though each waits 30 ms for S3's answer, and 7 of 16 MiB leave room for a longer stream.

*Demanded* makes a long stream fit into 10,000 parts. It does not affect the first 2,000 parts. After them it grows by
168 KiB a part, so 8,000 parts hold 5 TiB (168 KiB x 8,000 x 8,001 / 2 = 5.007 TiB), and the largest has 1.28 GiB. When
parts are larger than the cap, fewer of them fit into ``memory``. In the end no other part is in flight while one is
being filled.

If the caller gives ``max_memory``, it is the ceiling: a stream never takes more memory, and a stream that needs larger
parts is refused. Otherwise the ceiling is S3's 5 GiB, and ``memory`` is the larger of 128 MiB and two parts of
``part_size``. With the default settings a stream of unknown length then passes these lengths:

```text
many in flight   2 in flight   from here on
         4 GiB                 7 parts are in flight instead of 20
        26 GiB        92 GiB   fewer parts are in flight
        37 GiB        99 GiB   no other part is in flight while one is being filled
        74 GiB       135 GiB   one part is larger than memory
```

With ``expected_size`` all parts have one size: ``part_size``, or, if that is more, the least size in whole MiB that
fits the stream into 8,000 parts. (If ``max_memory`` can't hold ``max_concurrency`` such parts and one more, parts are
as large as it allows, but not smaller than 10,000 parts demand.) A hint that is too small costs memory, but the stream
still fits: after 8,000 parts, the size doubles every 250 parts, up to the ceiling. Without ``max_memory``, a stream may
have eight times the expected length if that was 300 GiB, and twice if it was 6 TiB. ``equal_parts=True`` keeps every
part at ``part_size``, which some S3-compatible stores demand.

Limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from dataclasses import dataclass
from typing import ClassVar

MIB = 1024**2
GIB = 1024**3

#: S3's limits, from the page named above.
MIN_PART_BYTES = 5 * MIB
MAX_PART_BYTES = 5 * GIB
MAX_PARTS = 10_000
MAX_OBJECT_BYTES = MAX_PARTS * MAX_PART_BYTES
#: How an error says it.
OBJECT_LIMITS = "0 to 48.8 TiB, S3's largest object"

#: A small container can spare this. It holds 20 parts of 6 MiB and the one being filled. Smaller parts would spend more
#: on the fixed cost of a request.
DEFAULT_MEMORY_BYTES = 128 * MIB
DEFAULT_CONCURRENCY = 20
#: So many parts are in flight until it is known whether more are better; see `pace`.
FIRST_IN_FLIGHT = 7
#: Each part in flight has a thread; more threads than this only wait for one another.
MAX_CONCURRENCY = 1000

_SHORT_PARTS = 700
_UNHURRIED_PARTS = 2_000
_DEMANDED_STEP_BYTES = 168 * 1024
_EXPECTED_PARTS = 8_000
_DOUBLING_PARTS = 250


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes in bytes of the parts of one upload; made by `make_plan`."""

    part_size: int
    memory: int
    ceiling: int
    max_concurrency: int
    doubles_after: int
    in_flight_later: int
    grows: bool

    #: Whether `Pace` may change the plan because of how fast parts arrive.
    adapts: ClassVar[bool] = True

    def size(self, number: int) -> int:
        """Bytes in part ``number``, counted from 1."""
        if not self.grows:
            return self.part_size
        doublings = min((number - 1) // self.doubles_after, 32)
        most = self.max_concurrency if number <= _SHORT_PARTS else min(self.max_concurrency, self.in_flight_later)
        cap = self.memory // (most + 1) // MIB * MIB
        demanded = _DEMANDED_STEP_BYTES * (number - _UNHURRIED_PARTS)
        return min(max(self.part_size, min(self.part_size << doublings, cap), demanded), self.ceiling)

    def in_flight(self, number: int) -> int:
        """How many other parts may be in flight while part ``number`` is being filled."""
        size = self.size(number)
        return min(self.max_concurrency, max(self.memory, size) // size - 1)

    def longest(self) -> int:
        """The length in bytes of the longest stream that fits into 10,000 parts."""
        return sum(map(self.size, range(1, MAX_PARTS + 1)))


class ExpectedPlan(Plan):
    """Sizes in bytes of the parts of an upload with an ``expected_size``."""

    __slots__ = ()

    def size(self, number: int) -> int:
        """Bytes in part ``number``, counted from 1."""
        doublings = max(0, number - _EXPECTED_PARTS) // _DOUBLING_PARTS
        return min(self.part_size << doublings, self.ceiling)


def make_plan(
    *,
    part_size: int,
    max_concurrency: int,
    max_memory: int | None = None,
    expected_size: int | None = None,
    equal_parts: bool = False,
) -> Plan:
    """The plan for these settings of a writer. ValueError or TypeError names a setting that is out of its limits."""
    check_limits("part_size", part_size, MIN_PART_BYTES, MAX_PART_BYTES, "5 MiB to 5 GiB, S3's limits")
    check_limits("max_concurrency", max_concurrency, 1, MAX_CONCURRENCY, f"1 to {MAX_CONCURRENCY}")
    kind, size = Plan, part_size
    if expected_size is not None:
        check_limits("expected_size", expected_size, 0, MAX_OBJECT_BYTES, OBJECT_LIMITS)
        size = max(part_size, _fitting(expected_size, MAX_PARTS))
        if equal_parts and size > part_size:
            raise ValueError(
                f"expected_size={expected_size} needs parts of {size} bytes, but equal_parts=True keeps them at "
                f"part_size={part_size}: set part_size to {size} or more"
            )
    if max_memory is not None:
        check_limits("max_memory", max_memory, size, None, f"at least one part, here {size} bytes")
    if expected_size is not None and not equal_parts:
        cap = MAX_PART_BYTES if max_memory is None else max_memory // (max_concurrency + 1)
        kind, size = ExpectedPlan, max(size, min(_fitting(expected_size, _EXPECTED_PARTS), MAX_PART_BYTES, cap))
    memory = max(DEFAULT_MEMORY_BYTES, 2 * size) if max_memory is None else max_memory
    ceiling = MAX_PART_BYTES if max_memory is None else min(max_memory, MAX_PART_BYTES)
    first = min(max_concurrency, FIRST_IN_FLIGHT)
    later = first if max_memory is None and max_concurrency == DEFAULT_CONCURRENCY else max_concurrency
    return kind(size, memory, ceiling, max_concurrency, first, later, grows=not equal_parts)


def _fitting(expected_size: int, parts: int) -> int:
    """The smallest part size, in bytes and a multiple of 1 MiB, with which ``parts`` parts hold ``expected_size``."""
    return -(-expected_size // (parts * MIB)) * MIB


def check_limits(name: str, value: int, least: int, most: int | None, limits: str) -> None:
    """TypeError if ``value`` is no int, ValueError if it is less than ``least`` or more than ``most``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, a number of bytes or parts, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name}={value} is out of its limits: {limits}")
