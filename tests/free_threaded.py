"""Threads that write at once in a Python without the GIL: `make test-free-threaded`, with FREE=/path/to/its/python.

Eight threads write records to one writer, and eight to a writer each, twenty times over; each record must come whole.
"""

import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from s3writer import MultipartUploadWriter
from tests.stores import BUCKET, seaweedfs

ROUNDS, THREADS, RECORDS, SIZE = 20, 8, 10_000, 100


def record(thread: int, number: int) -> bytes:
    return (b"%d %08d " % (thread, number)).ljust(SIZE, b"abcdefgh"[thread : thread + 1])


def in_threads(work: Callable[[int], None]) -> None:
    """Do it in all threads at once, or raise what one of them raised."""
    barrier, errors = threading.Barrier(THREADS), []

    def run(thread: int) -> None:
        barrier.wait()
        try:
            work(thread)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def content(client: Any, key: str) -> bytes:
    return bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def one_for_all(client: Any, key: str) -> None:
    """Eight threads, one writer."""
    with MultipartUploadWriter(BUCKET, key, client=client) as stream:

        def write(thread: int) -> None:
            for number in range(RECORDS):
                stream.write(record(thread, number))

        in_threads(write)
    body = content(client, key)
    found = Counter(body[start : start + SIZE] for start in range(0, len(body), SIZE))
    assert found == Counter(record(thread, number) for thread in range(THREADS) for number in range(RECORDS))


def one_each(client: Any, key: str) -> None:
    """Eight threads, eight writers."""

    def write(thread: int) -> None:
        with MultipartUploadWriter(BUCKET, f"{key}-{thread}", client=client) as stream:
            for number in range(RECORDS):
                stream.write(record(thread, number))

    in_threads(write)
    for thread in range(THREADS):
        assert content(client, f"{key}-{thread}") == b"".join(record(thread, number) for number in range(RECORDS))


def main() -> None:
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(sys.version.split("(")[0], "with the GIL" if has_gil else "without the GIL")
    with seaweedfs() as store:
        client = store.client(max_pool_connections=64)
        for number in range(ROUNDS):
            one_for_all(client, f"one{number}")
            one_each(client, f"each{number}")
    print(f"{ROUNDS} of {ROUNDS} runs: every record whole, {THREADS} threads in one writer, and in one each")


if __name__ == "__main__":
    main()
