"""Running stores, a bucket that must hold no unfinished upload after any test, and Django's settings."""

import gc
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import hypothesis
import pytest

from tests.helpers import unfinished
from tests.stores import BUCKET, QUICK_SERVERS, SERVERS, STORES, Store

hypothesis.settings.register_profile(
    "s3writer",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("s3writer")


#: They need s3fs, and run in its environment: `test_fsspec`.
collect_ignore = ["s3w"]

Started = TypeVar("Started")


class OnDemand(dict[str, Started]):
    """What runs until the end of the session, each started when it is first asked for by its name."""

    def __init__(self, stack: ExitStack, start: Callable[[str], AbstractContextManager[Started]]) -> None:
        super().__init__()
        self._stack = stack
        self._start = start

    def __missing__(self, name: str) -> Started:
        self[name] = self._stack.enter_context(self._start(name))
        return self[name]


Running = OnDemand[Store]


#: With coverage, a test takes up to half as long again. These modules take long, and other tests reach each line too.
#: For the same reason, some other tests have the mark no_cover, and a test of the fixture `server` is traced on one
#: store only.
NOT_TRACED = {
    f"test_{name}.py"
    for name in (
        "aio_failures",
        "body",
        "conformance",
        "dask",
        "demo",
        "django",
        "docs",
        "front_door",
        "interrupts",
        "killed",
        "machine",
        "matrix",
        "permissions",
        "producers",
        "properties",
        "redaction",
        "soak",
        "types",
    )
}


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all tests with LocalStack to one worker, all with the same proxy, and all with the type checkers: these take
    long to start. Let coverage leave out what it costs most.
    """
    for item in items:
        if len(item.nodeid) > 3000:
            raise pytest.UsageError(f"give ids: each process keeps and sends the name {item.nodeid[:100]}...")
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if item.path.name in NOT_TRACED or parameters.get("server") in QUICK_SERVERS[1:]:
            item.add_marker(pytest.mark.no_cover)
        if "localstack" in parameters.values():
            item.add_marker(pytest.mark.xdist_group("localstack"))
        elif "proxies" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(f"a proxy before {parameters['name']}"))
        elif {"mypy", "pyright"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("type checkers"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Collect what the last test had, clients of some MiB among it. What is left lives long, and is frozen: to look at
    all modules again in each collection would take a quarter of the time.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let coverage leave out the processes of a test: it takes an eighth of a second to start, and few of them run
    lines that no test runs in its own process.
    """
    traced = None if item.get_closest_marker("traces_processes") else os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    try:
        return (yield)
    finally:
        if traced is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = traced


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """All stores, started on demand."""
    with ExitStack() as stack:
        yield Running(stack, lambda name: STORES[name]())


@pytest.fixture(params=[*SERVERS, "memory"])
def any_store(request: pytest.FixtureRequest, running: Running) -> Iterator[Store]:
    """Each of the stores in turn, but for those that begin anew with each test."""
    yield running[request.param]
    assert_nothing_left(running[request.param])


@pytest.fixture(params=QUICK_SERVERS)
def server(request: pytest.FixtureRequest, running: Running) -> Iterator[Store]:
    """Each of the stores on which each fault is tried."""
    yield running[request.param]
    assert_nothing_left(running[request.param])


@pytest.fixture
def store(running: Running) -> Iterator[Store]:
    """The reference: the store that checks the most."""
    yield running["seaweedfs"]
    assert_nothing_left(running["seaweedfs"])


@pytest.fixture
def client(store: Store) -> Any:
    """A client of the reference store."""
    return store.client()


@pytest.fixture(params=["localstack"])
def versions(request: pytest.FixtureRequest, running: Running) -> Iterator[Any]:
    """A client of a store whose bucket keeps versions. It adds no checksums of its own."""
    client = running[request.param].client(request_checksum_calculation="when_required")
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield client
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    assert_nothing_left(running[request.param])


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Django's, in SQLite, with enough rows for many parts in each format; and others that are empty."""
    from tests.library.project import fill, set_up

    with TemporaryDirectory(prefix="pg-") as place:
        postgres = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": place}
        copy = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        set_up(tmp_path_factory.mktemp("django") / "library.sqlite3", postgres=postgres, copy=copy)
        fill(books=300, summary_length=20_000)
        yield


@pytest.fixture
def key() -> str:
    """A key of this test's own."""
    return f"{uuid.uuid4().hex}/Grüße.bin"


def assert_nothing_left(store: Store) -> None:
    """No upload is unfinished, once those that finalisers abort in the background are gone."""
    gc.collect()
    join_aborts()
    client = sweeper(store)
    left = unfinished(client)
    for upload in left:
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    assert left == []


@lru_cache
def sweeper(store: Store) -> Any:
    """A client of no test's: nothing that a test does to its own changes what it sees."""
    return store.client()


def join_aborts() -> None:
    """Wait for the aborts that finalisers began. One may be on its way to a thread that waits for work."""
    for thread in threading.enumerate():
        if thread.name == "s3writer-idle":
            thread.join(0.5)
        if thread.name == "s3writer-abort":
            thread.join(60)
            assert not thread.is_alive()
