"""Segments from several hosts: network namespaces of this machine, each with an address of its own. Needs root.

    python -m tests.hosts

The store, the scheduler and the driver are one host, each Dask worker is another one. First they write one object.
Then one host's cable is pulled while it writes, and the others write its segments again.
"""

import functools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster

from s3writer.segments import write_segments
from tests import jobs
from tests.helpers import MIB, content, data, uploads
from tests.stores import BUCKET, Store, folder, program, running, seaweedfs

DRIVER = "10.99.0.1"
HOSTS = 3
SIZES = [40 * MIB, 0, 3 * MIB, 60 * MIB, 11 * MIB, 40 * MIB, 7, 40 * MIB]


def main() -> None:
    """Both, or SystemExit."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # where workers find what they are to do
    dask.config.set({"distributed.scheduler.worker-ttl": "3s", "distributed.comm.timeouts.tcp": "15s"})
    with (
        network() as names,
        seaweedfs(DRIVER) as store,
        LocalCluster(n_workers=0, host=DRIVER, dashboard_address=":0") as cluster,
        ExitStack() as stack,
        Client(cluster) as client,
        client.get_executor() as pool,
    ):
        for name in names:
            command = [
                program("dask"),
                "worker",
                cluster.scheduler_address,
                "--no-dashboard",
                "--nthreads=1",
                "--no-nanny",
            ]
            stack.enter_context(running(["ip", "netns", "exec", name, *command], stack.enter_context(folder())))
        client.wait_for_workers(HOSTS)
        print(f"workers  {', '.join(sorted(client.scheduler_info()['workers']))}")
        write(pool, store, "all", lambda _: None)

        def pull_the_cable(_: int) -> None:
            subprocess.run(["ip", "link", "set", f"{names[0]}-out", "down"], check=True)

        write(pool, store, "one lost", pull_the_cable)
        print(f"workers  {', '.join(sorted(client.scheduler_info()['workers']))}")


def write(pool: Any, store: Store, key: str, progress: Callable[[int], object]) -> None:
    """One object, compared."""
    work = [functools.partial(jobs.write, number, size) for number, size in enumerate(SIZES)]
    make = functools.partial(jobs.make_client, str(store.endpoint))
    result = write_segments(BUCKET, key, work, executor=pool, client=make, progress=progress)
    if content(store.client(), key) != b"".join(data(size, number) for number, size in enumerate(SIZES)):
        raise SystemExit(f"{key}: not what was written")
    if uploads(store.client(), key):
        raise SystemExit(f"{key}: an upload was left behind")
    print(f"{key:8} {result.size / MIB:.0f} MiB in {result.parts} parts, as they should be")


@contextmanager
def network() -> Iterator[list[str]]:
    """Namespaces, and a switch to which they and this machine are connected."""
    names = [f"s3w{number}" for number in range(HOSTS)]
    with ExitStack() as stack:
        stack.callback(ip, "link", "del", "s3w")
        ip("link", "add", "s3w", "type", "bridge")
        ip("addr", "add", f"{DRIVER}/24", "dev", "s3w")
        ip("link", "set", "s3w", "up")
        for number, name in enumerate(names):
            stack.callback(ip, "netns", "del", name)
            ip("netns", "add", name)
            ip("link", "add", f"{name}-out", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}-out", "master", "s3w", "up")
            ip("-n", name, "addr", "add", f"10.99.0.{10 + number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names


def ip(*arguments: str) -> None:
    """iproute2's command."""
    subprocess.run(["ip", *arguments], check=True)


if __name__ == "__main__":
    main()
