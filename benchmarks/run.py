"""Measures s3writer and its peers in one interleaved run, and writes docs/benchmarks.md and its plots.

    make bench

Every figure is the median of ROUNDS rounds. In a round each library runs once, in a process of its own, so that what
the machine does meanwhile falls on all alike; the server is a process of its own as well, and throws everything away.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import botocore
import plots
import trustme
from bench import DEFAULTS, GIB, HERE, ITS_DEFAULTS, MIB, PART, Bench

PEERS = ["obstore", "opendal", "pyarrow", "smart_open", "s3fs", "boto3"]
UPLOADS_MIB = (6, 20, 100)


@contextlib.contextmanager
def sink(certificates: Path, *options: str, tls: bool = False) -> Iterator[str]:
    """A sink, and its endpoint."""
    command = [sys.executable, str(HERE / "sink.py"), *options, *([f"--tls={certificates}"] if tls else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def counts(endpoint: str) -> dict[str, int]:
    """What the sink has counted."""
    with urllib.request.urlopen(f"{endpoint}/-/counts") as answer:
        return dict(json.load(answer))


def measure_all(bench: Bench) -> dict[str, Any]:
    """Everything; the figures that are not per library."""
    other: dict[str, Any] = {}
    folder = bench.certificates
    with sink(folder, tls=True) as endpoint:
        bench.run("tls", ["sockets", "s3writer", DEFAULTS, *PEERS, "opendal, CRC32C"], endpoint, size=GIB)
    with sink(folder, "--latency=0.03", "--rate=90e6") as endpoint:
        with_nothing_set = [DEFAULTS, *(name if name == "opendal" else f"{name}{ITS_DEFAULTS}" for name in PEERS)]
        bench.run("defaults at S3's pace", with_nothing_set, endpoint, size=2 * GIB, concurrency=10)
        bench.run("pace", ["s3writer", *PEERS], endpoint, size=2 * GIB, concurrency=10)
        for mib in UPLOADS_MIB:
            short = {"measure": "uploads", "size": mib * MIB, "concurrency": 10}
            quick = [DEFAULTS, f"obstore{ITS_DEFAULTS}", "opendal", f"boto3{ITS_DEFAULTS}"]
            bench.run(f"upload of {mib} MiB", quick, endpoint, **short)
    with sink(folder) as endpoint:
        small = {"shape": "write_small", "chunk": 100}
        bench.run("one part of 100-byte writes", ["bytesio", DEFAULTS, *PEERS], endpoint, **small, size=4 * MIB)
        quick = [peer for peer in PEERS if peer != "opendal"]
        bench.run("100-byte writes", ["bytesio", DEFAULTS, *quick], endpoint, **small, size=64 * MIB)
        for shape in ("dump_json", "write_csv", "write_xml"):
            bench.run(
                shape, ["bytesio", "rawio", DEFAULTS, "pyarrow", "smart_open"], endpoint, shape=shape, size=32 * MIB
            )
        bench.run("objects", [DEFAULTS, "put_object"], endpoint, measure="objects", size=1024, count=300)
        for gib in (1 / 1024, 1 / 16, 1, 4, 20):
            bench.run(f"length {gib}", [DEFAULTS], endpoint, size=gib * GIB)
        bench.run("one write of 4 GiB", [DEFAULTS], endpoint, shape="write_at_once", size=4 * GIB)
        other["many"] = bench.script("many.py", endpoint)
        other["requests"] = {}
        for size in (0, 1024, 5 * MIB, 5 * MIB + 1, 100 * MIB):
            before = sum(counts(endpoint).values()) - counts(endpoint).get("bytes", 0)
            job = {"endpoint": endpoint, "ca": None, "chunk": max(1, size), "part_size": PART, "concurrency": 1}
            bench.script("clients.py", "s3writer", json.dumps({**job, "size": size, "defaults": True}))
            after = sum(counts(endpoint).values()) - counts(endpoint)["bytes"]
            other["requests"][size] = after - before - 1
    with sink(folder, "--latency=0.5", "--rate=20e6") as endpoint:
        bench.run("a slow server", [DEFAULTS], endpoint, size=GIB)
    other["simulation"] = bench.script("simulate.py")
    return other


def certificates(folder: Path) -> None:
    """A certificate for 127.0.0.1, made on the spot. The file of authorities has its own, and all of botocore's file: a
    user's file is as long, and loading it takes time.
    """
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    usual = Path(botocore.__file__).with_name("cacert.pem").read_bytes()
    (folder / "ca.pem").write_bytes(usual + authority.cert_pem.bytes())
    server.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))


def main() -> None:
    """Measure, then write the page and the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3fs-python", required=True, help="the interpreter of an environment with s3fs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, for a quick look")
    parser.add_argument("--docs", type=Path, default=HERE.parent / "docs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates(folder)
        bench = Bench({"s3fs": options.s3fs_python}, folder, options.rounds, options.scale)
        other = measure_all(bench)
        versions = {peer: version(peer.replace("_", "-")) for peer in PEERS if peer != "s3fs"}
        script = "from importlib.metadata import version; print(version('s3fs'))"
        versions["s3fs"] = subprocess.check_output([options.s3fs_python, "-c", script], text=True).strip()
    openssl = " ".join(ssl.OPENSSL_VERSION.split()[:2])
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {openssl}"
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    plots.write_page(bench, other, options.docs, machine=machine, versions=versions, today=today)


if __name__ == "__main__":
    main()
