"""How large part n is, and how many parts may be in flight beside it.

S3 takes at most 10,000 parts of 5 MiB to 5 GiB, of which only the last may be smaller. Small parts begin to travel
soon and cost little memory; large ones waste less on the fixed cost of a request and make longer objects. A stream of
unknown length wants small parts if it is going to be short and large ones if it is going to be long, so parts grow
with their number ``n``:

```text
cap      = memory // (max_concurrency + 1), in whole MiB
doubled  = part_size * 2 ** ((n - 1) // doubles_after)
demanded = 168 KiB * (n - 2,000)
size(n)  = max(part_size, min(doubled, cap), demanded)
```

The *cap* leaves memory for one part that is being filled and the others in flight; no size exceeds the *ceiling*.
``doubles_after`` is ``max_concurrency`` as it was given, also for a stream that goes on with fewer parts in flight (see
`_pace`).

*Doubled* makes the fixed cost vanish, and *cap* keeps it from taking the memory that parts in flight need: it never
starves the pipeline. *Demanded* is what the limit of 10,000 parts asks of a long stream. It leaves the first
2,000 parts alone and then grows by 168 KiB a part, the slope at which 8,000 parts come to 5 TiB
(168 KiB x 8,000 x 8,001 / 2 = 5.007 TiB) while the largest is 1.28 GiB. Past the cap fewer parts fit into the same
memory, down to one, which is filled and sent in turn.

The *ceiling* is ``max_memory`` when the caller gave one: then that number holds for any stream, and a stream that
needs larger parts is refused. Without one the ceiling is S3's 5 GiB, and ``memory`` is 128 MiB or two parts of
``part_size``, whichever is more. From 33 GiB on fewer parts are in flight then, from 44 GiB on one is filled and sent
in turn, and from 80 GiB on a part is larger than ``memory``. (With two in flight that is from 92, 99 and 135 GiB on.)

With ``expected_size`` parts are equal: ``part_size``, or what makes that size fit into 8,000 parts, in whole MiB (of a
``max_memory`` that is too small for that and the pipeline, into 10,000). A hint that was too small costs memory, and
not the object: after 8,000 parts, so beyond that size, they double every 250 parts, up to the ceiling. Eight times
the length is within reach if 300 GiB were expected, twice the length for 6 TiB. ``equal_parts=True`` keeps every part
at ``part_size``, which some S3-compatible stores demand.

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

#: What a small container can spare, and room for seven parts of 16 MiB beside the one being filled.
DEFAULT_MEMORY_BYTES = 128 * MIB
DEFAULT_CONCURRENCY = 7
#: A thread a part; more threads than this only wait for one another.
MAX_CONCURRENCY = 1000

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
    grows: bool

    #: Whether it may depend on how fast parts arrive.
    adapts: ClassVar[bool] = True

    def size(self, number: int) -> int:
        """Bytes in part ``number``, counted from 1."""
        if not self.grows:
            return self.part_size
        doublings = min((number - 1) // self.doubles_after, 32)
        cap = self.memory // (self.max_concurrency + 1) // MIB * MIB
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
    """Sizes in bytes of the parts of an upload of which somebody has said how long it will be."""

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
    """The plan for these settings of a writer, or ValueError (TypeError) naming the one that is out of its limits."""
    _check("part_size", part_size, MIN_PART_BYTES, MAX_PART_BYTES, "5 MiB to 5 GiB, S3's limits")
    _check("max_concurrency", max_concurrency, 1, MAX_CONCURRENCY, f"1 to {MAX_CONCURRENCY}")
    kind, size = Plan, part_size
    if expected_size is not None:
        _check("expected_size", expected_size, 0, MAX_OBJECT_BYTES, "0 to 48.8 TiB, S3's largest object")
        size = max(part_size, _fitting(expected_size, MAX_PARTS))
        if equal_parts and size > part_size:
            raise ValueError(
                f"expected_size={expected_size} needs parts of {size} bytes, but equal_parts=True keeps them at "
                f"part_size={part_size}: set part_size to {size} or more"
            )
    if max_memory is not None:
        _check("max_memory", max_memory, size, None, f"at least one part, here {size} bytes")
    if expected_size is not None and not equal_parts:
        cap = MAX_PART_BYTES if max_memory is None else max_memory // (max_concurrency + 1)
        kind, size = ExpectedPlan, max(size, min(_fitting(expected_size, _EXPECTED_PARTS), MAX_PART_BYTES, cap))
    memory = max(DEFAULT_MEMORY_BYTES, 2 * size) if max_memory is None else max_memory
    ceiling = MAX_PART_BYTES if max_memory is None else min(max_memory, MAX_PART_BYTES)
    return kind(size, memory, ceiling, max_concurrency, max_concurrency, grows=not equal_parts)


def _fitting(expected_size: int, parts: int) -> int:
    """The smallest part, in whole MiB, of which ``parts`` hold that many bytes."""
    return -(-expected_size // (parts * MIB)) * MIB


def _check(name: str, value: int, least: int, most: int | None, limits: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, a number of bytes or parts, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name}={value} is out of its limits: {limits}")
