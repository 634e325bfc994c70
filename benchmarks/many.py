"""A thousand writers open at once, each written to in turn: threads, memory, time.

python many.py ENDPOINT
"""

import contextlib
import json
import sys
import threading
import time

from bench import IN_FLIGHT, PART
from clients import peak_memory, s3writer

WRITERS, ROUNDS, LINE = 1000, 50, b"x" * 1000


def main() -> None:
    """Print JSON."""
    job = {"endpoint": sys.argv[1], "ca": None, "part_size": PART, "concurrency": IN_FLIGHT, "defaults": True}
    with s3writer(job) as stream:
        stream.write(b"warm")
    idle, began, threads = peak_memory(), time.perf_counter(), 0
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(s3writer(job)) for _ in range(WRITERS)]
        for _ in range(ROUNDS):
            for stream in streams:
                stream.write(LINE)
            threads = max(threads, threading.active_count())
    print(
        json.dumps(
            {
                "threads": threads,
                "memory": peak_memory() - idle,
                "wall": time.perf_counter() - began,
                "writers": WRITERS,
            }
        )
    )


if __name__ == "__main__":
    main()
