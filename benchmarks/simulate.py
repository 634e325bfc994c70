"""Streams too long to send, by the plan alone: parts, the largest part, memory, and the planner's own time.

python simulate.py
"""

import json
import time

from s3writer._upload.plan import DEFAULT_CONCURRENCY, GIB, MAX_PARTS, MIB, MIN_PART_BYTES, make_plan

TIB = 1024 * GIB
STREAMS = {
    "1 TiB, length unknown": (TIB, None),
    "5 TiB, length unknown": (5 * TIB, None),
    "5 TiB, expected": (5 * TIB, 5 * TIB),
    "48.8 TiB, expected": (MAX_PARTS * 5 * GIB, MAX_PARTS * 5 * GIB),
}


def simulate(length: int, expected_size: int | None) -> dict[str, float]:
    """Send ``length`` bytes to a store that only counts."""
    plan = make_plan(
        part_size=MIN_PART_BYTES,
        max_concurrency=DEFAULT_CONCURRENCY,
        max_memory=None,
        expected_size=expected_size,
        equal_parts=False,
    )
    sent = number = largest = memory = 0
    began = time.perf_counter()
    while sent < length:
        number += 1
        size = plan.size(number)
        memory = max(memory, (plan.in_flight(number) + 1) * size)
        largest = max(largest, min(size, length - sent))
        sent += size
    planning = time.perf_counter() - began
    if number > MAX_PARTS:
        raise SystemExit(f"{length} bytes don't fit")
    return {"parts": number, "largest": largest / MIB, "memory": memory / MIB, "planning": planning}


if __name__ == "__main__":
    print(json.dumps({name: simulate(*stream) for name, stream in STREAMS.items()}))
