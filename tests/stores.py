"""The S3 stores that the tests and the demo run against, and the one place where their quirks are written down.

All of them come from packages and bind to 127.0.0.1 only; data goes into a temporary folder.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from s3writer.testing import MemoryS3

KEY_ID, SECRET = "test-key-id", "test-secret-key"
REGION = "us-east-1"
BUCKET = "test-bucket"
START_SECONDS = 90


@dataclass(frozen=True)
class Quirks:
    """What a store does otherwise than S3."""

    checks_checksums: bool = True
    keeps_checksums: bool = True
    checks_conditions: bool = True
    checks_credentials: bool = True
    knows_missing_buckets: bool = True
    takes_customer_keys: bool = True
    checks_customer_keys: bool = True
    checks_part_size: bool = True
    marks_multipart_etags: bool = True
    takes_tags: bool = True
    accepts_any_abort: bool = False


@dataclass(frozen=True)
class Store:
    """A running store with an empty bucket."""

    name: str
    endpoint: str | None
    quirks: Quirks

    def client(self, **changes: Any) -> Any:
        """A client for it; ``changes`` are botocore's Config or, of a client, region_name and the keys."""
        arguments = {
            "verify": None,
            "aws_access_key_id": KEY_ID,
            "aws_secret_access_key": SECRET,
            "aws_session_token": None,
            "region_name": REGION,
            "endpoint_url": self.endpoint,
        }
        arguments.update({name: changes.pop(name) for name in list(changes) if name in arguments})
        settings: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "s3": {"addressing_style": "path"},
        }
        if not self.quirks.keeps_checksums:
            settings["response_checksum_validation"] = "when_required"
        session = boto3.session.Session() if self.endpoint is None else _session()
        return session.client("s3", config=Config(**{**settings, **changes}), **arguments)


SEAWEEDFS = Quirks(knows_missing_buckets=False, accepts_any_abort=True)
RCLONE = Quirks(
    checks_checksums=False,
    keeps_checksums=False,
    checks_conditions=False,
    checks_customer_keys=False,
    checks_part_size=False,
    marks_multipart_etags=False,
    takes_tags=False,
)
MOTO = Quirks(checks_checksums=False, keeps_checksums=False, checks_credentials=False, checks_customer_keys=False)
LOCALSTACK = Quirks(checks_credentials=False)
JUICEFS = Quirks(
    checks_checksums=False,
    keeps_checksums=False,
    checks_conditions=False,
    takes_customer_keys=False,
    checks_customer_keys=False,
)
MEMORY = Quirks(checks_credentials=False, takes_tags=False)


@contextmanager
def seaweedfs(address: str = "127.0.0.1") -> Iterator[Store]:
    """SeaweedFS, the reference: it checks checksums, conditions and customer keys."""
    services = ("master", "volume", "filer", "admin")
    ports = [free_port() for _ in range(1 + 2 * len(services))]
    with folder() as place:
        config = place / "s3.json"
        config.write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": "test",
                            "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
                            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                        }
                    ]
                }
            )
        )
        (place / "data").mkdir()
        command = [
            program("weed"),
            "-logtostderr=true",
            "mini",
            f"-dir={place / 'data'}",
            f"-ip={address}",
            f"-ip.bind={address}",
            f"-s3.port={ports[0]}",
            f"-s3.config={config}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam=false",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
        ]
        for number, service in enumerate(services):
            command += [f"-{service}.port={ports[1 + 2 * number]}", f"-{service}.port.grpc={ports[2 + 2 * number]}"]
        with running(command, place):
            yield _ready(Store("seaweedfs", f"http://{address}:{ports[0]}", SEAWEEDFS))


@contextmanager
def rclone() -> Iterator[Store]:
    """Rclone's S3 server: the awkward store that users also have."""
    port = free_port()
    with folder() as place:
        (place / "data").mkdir()
        command = [
            program("rclone"),
            "serve",
            "s3",
            "--config=/dev/null",
            f"--auth-key={KEY_ID},{SECRET}",
            f"--addr=127.0.0.1:{port}",
            str(place / "data"),
        ]
        with running(command, place):
            yield _ready(Store("rclone", f"http://127.0.0.1:{port}", RCLONE))


@contextmanager
def moto_server() -> Iterator[Store]:
    """Moto as a server, in a process of its own: AWS's error codes."""
    port = free_port()
    with folder() as place, running([program("moto_server"), "-H", "127.0.0.1", "-p", str(port)], place):
        yield _ready(Store("moto", f"http://127.0.0.1:{port}", MOTO))


@contextmanager
def localstack() -> Iterator[Store]:
    """LocalStack, the reference for what is asked of AWS: its makers compare it with AWS. It starts in 5 to 50 seconds.

    It has Python packages of its own, and is found by a program that it brings.
    """
    port = free_port()
    with folder() as place:
        (place / "files").mkdir()
        settings = {
            "FILESYSTEM_ROOT": str(place / "files"),
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "SERVICES": "s3",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DNS_ADDRESS": "0",
        }
        python = Path(program("localstack-supervisor")).with_name("python")
        with running([str(python), "-m", "localstack.runtime.main"], place, **settings):
            yield _ready(Store("localstack", f"http://127.0.0.1:{port}", LOCALSTACK))


@contextmanager
def juicefs() -> Iterator[Store]:
    """JuiceFS's gateway, which speaks S3 as MinIO does: it has MinIO's code."""
    port = free_port()
    with folder() as place:
        database, settings = (
            f"sqlite3://{place / 'meta.db'}",
            {"MINIO_ROOT_USER": KEY_ID, "MINIO_ROOT_PASSWORD": SECRET},
        )
        made = [program("juicefs"), "format", "--storage=file", f"--bucket={place}/data/", "--trash-days=0", database]
        subprocess.run([*made, "volume"], check=True, capture_output=True, env=environment(place))
        command = [
            program("juicefs"),
            "gateway",
            "--no-usage-report",
            "--multi-buckets",
            "--keep-etag",
            "--object-tag",
            "--object-meta",
            "--no-banner",
            f"--cache-dir={place / 'cache'}",
            f"--log={place / 'gateway.log'}",
            f"--metrics=127.0.0.1:{free_port()}",
            database,
            f"127.0.0.1:{port}",
        ]
        with running(command, place, **settings):
            yield _ready(Store("juicefs", f"http://127.0.0.1:{port}", JUICEFS))


@contextmanager
def moto_in_process() -> Iterator[Store]:
    """Moto within this process, as users have it in their tests."""
    from moto import mock_aws

    with mock_aws():
        yield _ready(Store("mock_aws", None, MOTO))


@dataclass(frozen=True)
class InMemory(Store):
    """The store that this package gives its users for their tests."""

    memory: MemoryS3 = field(default_factory=lambda: MemoryS3(BUCKET))

    def client(self, **changes: Any) -> Any:
        """A client that never comes to a network."""
        client = super().client(**changes)
        self.memory.attach(client)
        return client


@contextmanager
def in_memory() -> Iterator[Store]:
    """`s3writer.testing`, which has to be like a store in all that it does."""
    yield InMemory("memory", "https://memory.invalid", MEMORY)


STORES = {
    "seaweedfs": seaweedfs,
    "rclone": rclone,
    "moto": moto_server,
    "localstack": localstack,
    "juicefs": juicefs,
    "mock_aws": moto_in_process,
    "memory": in_memory,
}
#: Those that are reached over a connection.
SERVERS = [name for name in STORES if name not in {"mock_aws", "memory"}]
#: Those that start and answer fast enough for each fault to be tried on them.
QUICK_SERVERS = ["seaweedfs", "rclone", "moto"]


@lru_cache(maxsize=1)
def _session() -> Any:
    """One for all clients that talk to a server: each new one reads S3's model again."""
    return boto3.session.Session()


def program(name: str) -> str:
    """The path of a program that a package has brought."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not on the PATH: is its package installed?")
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def folder() -> Iterator[Path]:
    """A folder of one's own, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="s3writer-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def running(command: list[str], place: Path, **settings: str) -> Iterator[None]:
    """A server that runs in a folder and logs there. ``settings`` are added to its environment."""
    with ExitStack() as stack:
        log = stack.enter_context((place / "log").open("wb"))
        variables = {**environment(place), **settings}
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=place, env=variables)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def environment(home: Path) -> dict[str, str]:
    """That of this process, with another home, without credentials, and without tracing of what is not ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COVERAGE_"))}
    return {**kept, "HOME": str(home)}


def _ready(store: Store) -> Store:
    """The store once it takes a bucket, or the last error after `START_SECONDS`."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client = store.client()
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            client.delete_object(Bucket=BUCKET, Key="ready")
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "BucketAlreadyOwnedByYou":
                continue
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return store
