"""Measures files that are written through fsspec, and through a storage of Django's, at S3's pace.

    make bench-edges

Each program writes pieces of 1 MiB. Each runs in a process of its own, in turn, ROUNDS times; figures are medians of
the rounds. The tables of docs/fsspec.md and docs/django-storage.md go to standard output.
"""

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1024**2
BUCKET, KEY = "bench", "object"
ACCOUNT = {"AWS_ACCESS_KEY_ID": "key-id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def through_fsspec(protocol: str, endpoint: str) -> Callable[[str], Any]:
    """What opens a key for writing."""
    import fsspec

    system = fsspec.filesystem(protocol, endpoint_url=endpoint)
    return lambda key: system.open(f"{BUCKET}/{key}", "wb")


def through_a_storage(backend: str, endpoint: str) -> Callable[[str], Any]:
    """What opens a key for writing."""
    import django
    from django.conf import settings

    options = {"bucket_name": BUCKET, "endpoint_url": endpoint, "addressing_style": "path"}
    settings.configure(STORAGES={"default": {"BACKEND": backend, "OPTIONS": options}})
    django.setup()
    from django.core.files.storage import default_storage

    return lambda key: default_storage.open(key, "wb")


#: The programs, by the page that shows them.
PAGES: dict[str, dict[str, tuple[Callable[[str, str], Callable[[str], Any]], str]]] = {
    "docs/fsspec.md": {
        "`s3w://`": (through_fsspec, "s3w"),
        "`s3://`, s3fs": (through_fsspec, "s3"),
    },
    "docs/django-storage.md": {
        "s3writer's `S3Storage`": (through_a_storage, "s3writer.django.storage.S3Storage"),
        "django-storages' `S3Storage`": (through_a_storage, "storages.backends.s3.S3Storage"),
    },
}


def measure(page: str, name: str, endpoint: str, mib: int) -> dict[str, float]:
    """One file, after a short one that imports everything."""
    through, what = PAGES[page][name]
    opened, piece = through(what, endpoint), os.urandom(MIB)
    with opened("first") as stream:
        stream.write(piece)
    wall, cpu = time.perf_counter(), time.process_time()
    with opened(KEY) as stream:
        for _ in range(mib):
            stream.write(piece)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"rate": mib / wall, "cpu": cpu / mib * 1024}


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3fs-python", default=sys.executable, help="the interpreter of an environment with s3fs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=512, help="length of each file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.mib)))
        return
    from run import sink

    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    print(f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, {options.mib} MiB")
    with sink(Path(), "--latency=0.03", "--rate=90e6") as endpoint:
        for page, programs in PAGES.items():
            python = options.s3fs_python if page.endswith("fsspec.md") else sys.executable
            found: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
            for _ in range(options.rounds):
                for name, measured in found.items():
                    command = [python, __file__, f"--mib={options.mib}", "--one", page, name, endpoint]
                    ended = subprocess.run(command, env={**os.environ, **ACCOUNT}, check=True, capture_output=True)
                    measured.append(json.loads(ended.stdout))
                    print(f"{name}: {measured[-1]}", file=sys.stderr, flush=True)
            print(f"\n{page}\n\n| | MiB/s | CPU, s a GiB |\n| --- | ---: | ---: |")
            for name, measured in found.items():
                rate, cpu = (statistics.median(one[what] for one in measured) for what in ("rate", "cpu"))
                print(f"| {name} | {rate:.0f} | {cpu:.1f} |")


if __name__ == "__main__":
    main()
