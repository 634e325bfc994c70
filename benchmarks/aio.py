"""Measures uploads from coroutines: throughput at S3's pace, and how late the event loop comes to other tasks.

    make bench-aio

A coroutine makes pieces of 64 KiB, and lets other tasks run after each. Another task asks to be woken each 2
milliseconds, and notes how much later that happens. Each library runs in a process of its own, in turn, ROUNDS times;
figures are medians of the rounds. The table goes to standard output.
"""

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

MIB = 1024**2
PIECE = 64 * 1024
PART, IN_FLIGHT = 8 * MIB, 8
TICK_SECONDS = 0.002
BUCKET, KEY = "bench", "object"
KEY_ID, SECRET = "key-id", "secret"

Pieces = AsyncIterator[bytes]


async def produce(size: int) -> Pieces:
    """Bytes that nobody has seen: slices of a random block at ever new offsets, each a new object."""
    block, offset = os.urandom(4 * MIB + PIECE), 0
    for _ in range(size // PIECE):
        offset = (offset + 4099) % (4 * MIB)
        yield block[offset : offset + PIECE]
        await asyncio.sleep(0)


EQUAL: dict[str, Any] = {
    "part_size": PART,
    "max_concurrency": IN_FLIGHT,
    "max_memory": PART * (IN_FLIGHT + 1),
    "equal_parts": True,
}


async def _s3writer(endpoint: str, pieces: Pieces, settings: dict[str, Any]) -> None:
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID=KEY_ID, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION="us-east-1"
    )
    import s3writer.aio

    async with s3writer.aio.open(f"s3://{BUCKET}/{KEY}", "wb", **settings) as stream:
        async for piece in pieces:
            await stream.write(piece)


async def s3writer(endpoint: str, pieces: Pieces) -> None:
    """s3writer, with equal parts as the others."""
    await _s3writer(endpoint, pieces, EQUAL)


async def s3writer_defaults(endpoint: str, pieces: Pieces) -> None:
    """s3writer, with its defaults."""
    await _s3writer(endpoint, pieces, {})


async def obstore(endpoint: str, pieces: Pieces) -> None:
    """obstore's buffered writer, in Rust."""
    import obstore as library
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=KEY_ID,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )
    async with library.open_writer_async(store, KEY, buffer_size=PART, max_concurrency=IN_FLIGHT) as stream:
        async for piece in pieces:
            await stream.write(piece)


class Reader:
    """Pieces as a file that is read by coroutines."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._rest = b""

    async def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end."""
        gathered = [self._rest]
        count = len(self._rest)
        while count < size and (piece := await anext(self._pieces, b"")):
            gathered.append(piece)
            count += len(piece)
        whole = b"".join(gathered)
        self._rest = whole[size:]
        return whole[:size]


async def aioboto3(endpoint: str, pieces: Pieces) -> None:
    """aioboto3's upload_fileobj, which reads."""
    import aioboto3 as library
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    session = library.Session(KEY_ID, SECRET, region_name="us-east-1")
    settings = Config(s3={"addressing_style": "path"}, max_pool_connections=IN_FLIGHT + 2)
    transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=IN_FLIGHT)
    async with session.client("s3", endpoint_url=endpoint, config=settings) as client:
        await client.upload_fileobj(Reader(pieces), BUCKET, KEY, Config=transfer)


async def nothing(_: str, __: Pieces) -> None:
    """No upload: how late the machine itself comes."""
    await asyncio.sleep(2)


LIBRARIES: dict[str, Callable[[str, Pieces], Awaitable[None]]] = {
    "s3writer.aio, its defaults": s3writer_defaults,
    "s3writer.aio": s3writer,
    "obstore, `open_writer_async`": obstore,
    "aioboto3, `upload_fileobj`": aioboto3,
    "no upload": nothing,
}


async def tick(lags: list[float]) -> None:
    """Note how late each wake-up comes."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        lags.append(time.perf_counter() - before - TICK_SECONDS)


async def measure(library: str, endpoint: str, size: int) -> dict[str, float]:
    """One upload, after a small one that imports everything."""
    upload = LIBRARIES[library]
    await upload(endpoint, produce(PIECE))
    lags: list[float] = []
    ticker = asyncio.create_task(tick(lags))
    wall, cpu = time.perf_counter(), time.process_time()
    await upload(endpoint, produce(size))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ticker.cancel()
    lags.sort()
    return {
        "rate": size / MIB / wall,
        "cpu": cpu,
        "late": lags[int(len(lags) * 0.99)] * 1000,
        "latest": lags[-1] * 1000,
    }


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aioboto3-python", help="the interpreter of an environment with aioboto3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024, help="length of each upload")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = options.mib * MIB
    if options.one:
        print(json.dumps(asyncio.run(measure(options.one, options.endpoint, size))))
        return
    from run import sink

    found: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    with sink(Path(), "--latency=0.03", "--rate=90e6") as endpoint:
        for _ in range(options.rounds):
            for library, measured in found.items():
                python = options.aioboto3_python if library.startswith("aioboto3") else sys.executable
                command = [python, __file__, f"--one={library}", f"--endpoint={endpoint}", f"--mib={options.mib}"]
                measured.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
                print(f"{library}: {measured[-1]}", file=sys.stderr, flush=True)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    print(f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, {options.mib} MiB\n")
    print("| | MiB/s | CPU, s | 99 % late by less than | latest by |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for library, measured in found.items():
        rate, cpu, late, latest = (
            statistics.median(one[what] for one in measured) for what in ("rate", "cpu", "late", "latest")
        )
        sent = "| | |" if library == "no upload" else f"| {rate:.0f} | {cpu:.2f} |"
        print(f"| {library} {sent} {late:.1f} ms | {latest:.0f} ms |")


if __name__ == "__main__":
    main()
