"""Many uploads at once, of all kinds and with faults at random; at the end nothing may be lost, cut or untold.

    make soak SOAK="--uploads 4000 --seed 7"

Each upload has a key of its own, and the program writes down what it saw: published, not published, or unknown. In the
end the store is asked: whatever was published is whole, whatever was not is absent, whatever is unknown is one or the
other, and each upload that is left over was named by an error or in the log.
"""

import argparse
import collections
import functools
import gc
import gzip
import io
import multiprocessing
import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from s3writer import MultipartUploadWriter, NotCommittedError, OutcomeUnknownError
from s3writer.segments import write_segments
from tests import jobs
from tests.conftest import join_aborts
from tests.helpers import MIB, Boom, content, data, logged, unfinished, writer
from tests.matrix import (
    BEGUN,
    CALLS,
    FAULTS,
    NOT_PUBLISHED,
    PUBLISHED,
    REFUSED,
    UNKNOWN,
    cells,
    expected,
    hurried,
    play,
)
from tests.proxies import Proxy, proxy
from tests.stores import BUCKET, QUICK_SERVERS, STORES

SIZES = [0, 1, 1000, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 11 * MIB, 23 * MIB]
STREAM = data(max(SIZES))
CHECKSUMS = ["auto", "CRC32", "SHA256", None]
#: Those that the proxy makes, but for what hangs, which takes seconds.
QUICK = [fault for fault in FAULTS if fault != REFUSED and "hang" not in fault]
#: A store that answers these to HeadObject is not telling the truth, and then nobody knows it.
LIES = {"404"}


@dataclass(frozen=True)
class Told:
    """What one upload's program saw, the bytes it wrote, and what its errors said."""

    key: str
    outcome: str
    payload: bytes
    said: str
    is_zipped: bool


def plain(stream: Any, pieces: Iterator[bytes]) -> None:
    """A with block."""
    with stream:
        for piece in pieces:
            stream.write(piece)


def buffered(stream: Any, pieces: Iterator[bytes]) -> None:
    """Through io.BufferedWriter."""
    with io.BufferedWriter(stream) as wrapper:
        for piece in pieces:
            wrapper.write(piece)


def text(stream: Any, pieces: Iterator[bytes]) -> None:
    """Through io.TextIOWrapper."""
    with io.TextIOWrapper(stream, encoding="latin-1", newline="") as wrapper:
        for piece in pieces:
            wrapper.write(piece.decode("latin-1"))


def closing(stream: Any, pieces: Iterator[bytes]) -> None:
    """try, finally, close."""
    try:
        for piece in pieces:
            stream.write(piece)
    finally:
        stream.close()


def zipped(stream: Any, pieces: Iterator[bytes]) -> None:
    """Through gzip, within a with block of the writer."""
    with stream, gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=0, mtime=0) as wrapper:
        for piece in pieces:
            wrapper.write(piece)


def dropped(stream: Any, pieces: Iterator[bytes]) -> None:
    """Never closed."""
    for piece in pieces:
        stream.write(piece)


def segmented(stream: Any, pieces: Iterator[bytes]) -> None:
    """As one of several segments; the name of the way in which they are written."""
    plain(stream, pieces)


WAYS: list[Callable[[Any, Iterator[bytes]], None]] = [plain, buffered, text, closing, zipped, dropped, segmented]


class Soak:
    """Uploads to one store through a proxy, and what they told."""

    def __init__(self, running: Proxy, seed: int) -> None:
        self.proxy = running
        self.seed = seed
        self.client = running.client(tls=False, attempts=2)
        self.bare_client = running.client(tls=False, attempts=2, request_checksum_calculation="when_required")
        self.checks_checksums = running.store.quirks.checks_checksums

    def upload(self, number: int) -> Told:
        """One upload; everything about it follows from the seed and its number."""
        choose = random.Random(f"{self.seed} {number}")
        key = f"soak/{self.seed}/{number}"
        way, size = choose.choice(WAYS), choose.choice(SIZES)
        payload = STREAM[:size]
        breaks = choose.random() < 0.2
        checksum = "auto" if way is segmented else choose.choice(CHECKSUMS)
        for call in choose.sample(list(CALLS.values()), choose.choice([0, 1, 2, 4])):
            fault = choose.choice(self._faults(checksum))
            if call.operation != "HeadObject" or fault not in LIES:
                self.proxy.set(key, call.operation, fault, times=choose.choice([1, 2, 10]), part=call.part)
        outcome, error = self._write(way, key, choose, payload, checksum, breaks=breaks)
        said = " ".join(f"{fault} {getattr(fault, '__notes__', '')}" for fault in _chain(error))
        return Told(key, outcome, payload, said, is_zipped=way is zipped)

    def _faults(self, checksum: str | None) -> list[str]:
        """Those that somebody can tell: without a checksum, or if the store checks none, nobody sees a flipped byte."""
        return [fault for fault in QUICK if fault != "flipped byte" or (checksum and self.checks_checksums)]

    def _write(
        self,
        way: Callable[..., None],
        key: str,
        choose: random.Random,
        payload: bytes,
        checksum: str | None,
        *,
        breaks: bool,
    ) -> tuple[str, BaseException | None]:
        step = choose.choice([max(1000, len(payload) // 1000), 70_000, MIB, 7 * MIB])
        end = choose.randrange(len(payload) + 1) if breaks else len(payload)

        def pieces() -> Iterator[bytes]:
            for start in range(0, end, step):
                yield payload[start : min(start + step, end)]
            if breaks:
                raise Boom

        try:
            if way is segmented:
                self._write_segments(key, choose, list(pieces()))
            else:
                way(self._writer(key, choose, checksum), pieces())
        except (NotCommittedError, Boom) as error:
            return NOT_PUBLISHED, error
        except OutcomeUnknownError as error:
            return UNKNOWN, error
        return (NOT_PUBLISHED if way is dropped else PUBLISHED), None

    def _write_segments(self, key: str, choose: random.Random, pieces: list[bytes]) -> None:
        cuts = sorted(choose.choices(range(len(pieces) + 1), k=choose.randrange(5)))
        shares = [pieces[start:end] for start, end in zip([0, *cuts], [*cuts, len(pieces)], strict=True)]
        with ThreadPoolExecutor(3) as pool:
            write_segments(
                BUCKET,
                key,
                [functools.partial(_write_all, share) for share in shares],
                executor=pool,
                client=lambda: self.bare_client,
                exclusive=choose.random() < 0.2,
                window=choose.choice([1, 3]),
            )

    def _writer(self, key: str, choose: random.Random, checksum: str | None) -> MultipartUploadWriter:
        return writer(
            self.client,
            key,
            exclusive=choose.random() < 0.2,
            equal_parts=choose.random() < 0.5,
            max_concurrency=choose.choice([1, 2, 7]),
            checksum=checksum,
        )


def _write_all(pieces: list[bytes], stream: Any) -> None:
    for piece in pieces:
        stream.write(piece)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def wrong(told: list[Told], log: list[str], running: Proxy) -> list[str]:
    """What the store shows otherwise than it was told; empty if all is well."""
    direct = running.store.client()
    left: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for upload in unfinished(direct):
        parts = held(direct, upload)
        left[upload["Key"]][upload["UploadId"]] = f"{parts}, begun at {upload['Initiated']}"
    found = []
    for one in told:
        now = content(direct, one.key)
        if one.is_zipped and now is not None:
            now = unzipped(now)
        outcomes: dict[str, list[bytes | None]] = {
            PUBLISHED: [one.payload],
            NOT_PUBLISHED: [None],
            UNKNOWN: [one.payload, None],
        }
        if now not in outcomes[one.outcome]:
            found.append(f"{one.key} is {one.outcome}, but the key holds {now if now is None else len(now)}")
        said = " ".join([one.said, *(message for message in log if f"/{one.key} " in message)])
        if BEGUN not in said and not all(upload_id in said for upload_id in left[one.key]):
            found.append(f"{one.key} is {one.outcome}, and {left[one.key]} is left; said was: {said}")
    return found


def unzipped(zipped: bytes) -> bytes:
    """What was zipped; if it is damaged, the damaged bytes."""
    try:
        return gzip.decompress(zipped)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return zipped


def held(client: Any, upload: dict[str, Any]) -> str:
    """What the store shows of an unfinished upload."""
    try:
        answer = client.list_parts(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    except ClientError as error:
        return str(error)
    return (
        f"parts {[(part['PartNumber'], part['Size'], str(part['LastModified'])) for part in answer.get('Parts', [])]}"
    )


#: Connections that botocore's pool keeps are no leak.
_SPARE = {"threads": 0, "files": 20}


def resources() -> dict[str, int]:
    """What must not grow: threads of ours, and open files (sockets too)."""
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("s3writer")]
    return {"threads": len(ours), "files": len(list(Path("/proc/self/fd").iterdir()))}


def soak(name: str, uploads: int, seed: int, at_once: int = 4) -> tuple[list[Told], list[str]]:
    """So many uploads, several at once; what they told, and what is wrong."""
    with STORES[name]() as store, proxy(store) as running, hurried(), logged() as log:
        running.client(tls=False, attempts=1).head_bucket(Bucket=BUCKET)
        soaking = Soak(running, seed)
        before = resources()
        with ThreadPoolExecutor(at_once) as pool:
            told = list(pool.map(soaking.upload, range(uploads)))
        gc.collect()
        join_aborts()
        problems = wrong(told, log, running)
        soaking.client.close()
        for _ in range(100):
            after = resources()
            if after["threads"] <= before["threads"]:
                break
            time.sleep(0.1)
        problems += [
            f"{what}: {after[what]} after, {before[what]} before"
            for what in before
            if after[what] > before[what] + _SPARE[what]
        ]
    return told, problems


def matrix(name: str) -> tuple[int, list[str]]:
    """Each cell of the matrix; how many there are, and what is wrong."""
    problems, count = [], 0
    with STORES[name]() as store, proxy(store) as running, hurried():
        for count, cell in enumerate(cells(checks_checksums=store.quirks.checks_checksums), start=1):
            try:
                seen = play(cell, running, f"matrix/{count}")
            except AssertionError as error:
                problems.append(f"{cell}: {error}")
            else:
                if seen.outcome not in expected(cell):
                    problems.append(f"{cell}: {seen}")
    return count, problems


def clusters(name: str, rounds: int, seed: int) -> list[str]:
    """Objects from processes, some of which are killed or raise; what is wrong."""
    problems = []
    with STORES[name]() as store, logged():
        client = store.client()
        for number in range(rounds):
            choose, key = random.Random(f"{seed} {number}"), f"cluster/{number}"
            sizes = choose.choices(SIZES, k=8)
            work = [functools.partial(jobs.write, which, size) for which, size in enumerate(sizes)]
            if breaks := choose.random() < 0.5:
                which = choose.randrange(8)
                job = choose.choice([jobs.write_then_die, jobs.write_then_raise])
                work[which] = functools.partial(job, which, sizes[which])
            expected = None if breaks else b"".join(data(size, which) for which, size in enumerate(sizes))
            with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
                try:
                    make = functools.partial(jobs.make_client, str(store.endpoint))
                    write_segments(BUCKET, key, work, executor=pool, client=make, window=choose.choice([2, 5]))
                except (BrokenProcessPool, ArithmeticError) as error:
                    if not breaks:
                        problems.append(f"{key} failed: {error!r}")
            if content(client, key) != expected:
                problems.append(f"{key}, of {sizes}, is not what it should be")
        problems += [f"left behind: {upload}" for upload in unfinished(client)]
    return problems


def main() -> None:
    """Soak each store, then play the whole matrix on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=1000, help="on each store")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--stores", nargs="*", default=QUICK_SERVERS)
    parser.add_argument("--no-matrix", action="store_true")
    parser.add_argument("--clusters", type=int, default=20, help="objects from processes, where numbers may have gaps")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    bad = 0
    for name in options.stores:
        told, problems = soak(name, options.uploads, seed)
        outcomes = collections.Counter(one.outcome for one in told)
        shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"{name}: {len(told)} uploads: {shown}", flush=True)
        if not options.no_matrix:
            count, missed = matrix(name)
            print(f"{name}: {count} cells of the matrix", flush=True)
            problems += missed
        if name != "rclone":
            problems += clusters(name, options.clusters, seed)
            print(f"{name}: {options.clusters} objects from processes", flush=True)
        for problem in problems:
            print(f"  {problem}", flush=True)
        bad += len(problems)
    print("0 lost, 0 truncated, 0 unreported" if not bad else f"{bad} wrong")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
