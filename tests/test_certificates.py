"""TLS: the file of certificate authorities is loaded once, and the server is verified by it."""

import gc
import os
import shutil
import ssl
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore
import pytest
from botocore.config import Config

from s3writer import MultipartUploadWriter, NotCommittedError
from s3writer._s3.certificates import _LoadOnce
from s3writer._s3.client import default_client
from s3writer._s3.watching import watch
from tests.conftest import Running
from tests.helpers import MIB, content, data
from tests.proxies import Proxy, proxy
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store


@pytest.fixture(scope="module")
def tls(running: Running) -> Iterator[Proxy]:
    """The reference store, over TLS."""
    with proxy(running["seaweedfs"]) as before_it:
        yield before_it


@pytest.fixture
def authorities(tls: Proxy, tmp_path: Path) -> Path:
    """A file with the authority of `tls`."""
    return Path(shutil.copy(tls.certificate, tmp_path / "authorities.pem"))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The files of authorities that OpenSSL has loaded. It takes its time."""
    found: list[Any] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: Any, cafile: Any = None, *others: Any) -> None:
        time.sleep(0.1)
        load(context, cafile, *others)
        found.append(cafile)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    return found


def client_of(tls: Proxy, authorities: Path | None, proxies: dict[str, str] | None = None) -> Any:
    """A client of `tls` that trusts these authorities, or those that botocore trusts; reached without a proxy."""
    return boto3.Session(KEY_ID, SECRET, region_name=REGION).client(
        "s3",
        endpoint_url=f"https://127.0.0.1:{tls.port}",
        verify=True if authorities is None else str(authorities),
        config=Config(proxies=proxies or {}, retries={"total_max_attempts": 1}),
    )


def context_of(client: Any) -> Any:
    return client._endpoint.http_session._manager.connection_pool_kw["ssl_context"]


def replace(file: Path, content: bytes) -> None:
    """Put another file of the same age in its place."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    os.utime(new, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    new.replace(file)


@pytest.mark.parametrize("is_own", [True, False], ids=["own", "default"])
def test_a_client_loads_the_file_of_authorities_once_and_again_if_it_was_replaced(
    store: Store,
    tls: Proxy,
    key: str,
    authorities: Path,
    loads: list[Any],
    is_own: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections: list[Any] = []
    wrap = ssl.SSLContext.wrap_socket

    def counted(context: Any, *arguments: Any, **named: Any) -> Any:
        connections.append(context)
        return wrap(context, *arguments, **named)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", counted)
    if is_own:
        client = client_of(tls, authorities)
    else:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(KEY_ID, SECRET, region_name=REGION))
        client = default_client(f"https://127.0.0.1:{tls.port}")
    payload = data(11 * MIB)
    with MultipartUploadWriter(BUCKET, key, client=client, max_concurrency=4) as stream:
        stream.write(payload)
    assert len(connections) > 1
    assert loads == [str(authorities)]
    assert content(store.client(), key) == payload
    replace(authorities, b"\n" + authorities.read_bytes())
    for _ in range(2):
        client.close()  # and its connections
        with MultipartUploadWriter(BUCKET, key, client=client) as stream:
            stream.write(b"again")
        assert loads == 2 * [str(authorities)]
    assert content(store.client(), key) == b"again"


def test_connections_that_are_made_at_once_wait_until_one_has_loaded_the_file(
    tls: Proxy, authorities: Path, loads: list[Any]
) -> None:
    client = client_of(tls, authorities)
    watch(client)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: client.list_buckets(), range(4)))
    assert loads == [str(authorities)]


def test_a_process_that_is_forked_while_a_connection_loads_the_file_can_load_it_too(authorities: Path) -> None:
    script = """
import os, ssl, sys, threading, warnings
import boto3
from s3writer._s3.watching import watch

loading, forked = threading.Event(), threading.Event()
load = ssl.SSLContext.load_verify_locations

def slow(*given):
    load(*given)
    loading.set()
    assert forked.wait(60)

ssl.SSLContext.load_verify_locations = slow
client = boto3.client("s3", region_name="us-east-1")
watch(client)
context = client._endpoint.http_session._manager.connection_pool_kw["ssl_context"]
thread = threading.Thread(target=context.load_verify_locations, args=(sys.argv[1],))
thread.start()
assert loading.wait(60)
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads
child = os.fork()
forked.set()
context.load_verify_locations(sys.argv[1])
if child == 0:
    os._exit(7)
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    command = [sys.executable, "-c", script, str(authorities)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("is_used_before", [True, False], ids=["used before", "not used before"])
def test_connections_through_a_proxy_load_the_file_once(
    tls: Proxy, authorities: Path, loads: list[Any], is_used_before: bool
) -> None:
    client = client_of(tls, authorities, proxies={"https": "http://127.0.0.1:9"})
    session = client._endpoint.http_session
    if is_used_before:
        session._get_proxy_manager("http://127.0.0.1:9")
    watch(client)
    through = session._get_proxy_manager("http://127.0.0.1:9").connection_pool_kw["ssl_context"]
    for _ in range(2):
        through.load_verify_locations(authorities)
    assert loads == [authorities]


def test_a_client_keeps_tls_contexts_that_were_given_to_it(tls: Proxy, authorities: Path) -> None:
    client = client_of(tls, authorities)
    session, load = client._endpoint.http_session, list
    given = SimpleNamespace(load_verify_locations=load)
    session._get_ssl_context = lambda: given
    watch(client)
    through = session._get_proxy_manager("http://127.0.0.1:9").connection_pool_kw["ssl_context"]
    assert through is given
    assert through.load_verify_locations is load


def test_a_signal_handler_that_waits_for_a_connection_while_another_loads_the_file_does_not_wait_for_ever(
    tls: Proxy, authorities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(tls, authorities)
    watch(client)
    load = ssl.SSLContext.load_verify_locations
    handled: list[bool] = []

    def interrupted(*given: Any) -> None:
        load(*given)
        if not handled:  # as if a signal came just now
            handled.append(True)
            with MultipartUploadWriter(BUCKET, "marker", client=client) as stream:
                stream.write(b"interrupted")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", interrupted)
    monkeypatch.setattr(context_of(client), "load_verify_locations", _LoadOnce(context_of(client)))
    client.delete_object(Bucket=BUCKET, Key="marker")
    assert handled == [True]


def test_other_authorities_are_loaded_and_a_file_that_can_not_be_is_an_error_each_time(
    tls: Proxy, authorities: Path
) -> None:
    client = client_of(tls, authorities)
    watch(client)
    context = context_of(client)
    usual = Path(botocore.__file__).with_name("cacert.pem").read_text(encoding="utf-8")
    ends = usual.split("-----END CERTIFICATE-----\n")
    first, second = (f"{one}-----END CERTIFICATE-----\n" for one in ends[:2])
    found = []
    for given in ({"cafile": authorities}, {"cadata": first}, {"cadata": second}):
        context.load_verify_locations(**given)
        found.append(context.cert_store_stats()["x509_ca"])
    assert found == [1, 2, 3]
    authorities.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            context.load_verify_locations(authorities)


def test_a_client_that_is_dropped_lets_go_of_its_tls_context_at_once(tls: Proxy, authorities: Path) -> None:
    client = client_of(tls, authorities)
    watch(client)
    alive = weakref.ref(context_of(client))
    gc.disable()
    try:
        del client
        assert alive() is None
    finally:
        gc.enable()


def test_nothing_is_sent_to_a_server_that_no_authority_vouches_for(store: Store, tls: Proxy, key: str) -> None:
    stream = MultipartUploadWriter(BUCKET, key, client=client_of(tls, None))
    stream.write(b"secret")
    with pytest.raises(NotCommittedError, match="CERTIFICATE_VERIFY_FAILED"):
        stream.close()
    assert content(store.client(), key) is None


@pytest.mark.parametrize(
    "manager",
    [
        SimpleNamespace(),
        SimpleNamespace(connection_pool_kw={}),
        SimpleNamespace(connection_pool_kw={"ssl_context": object()}),
    ],
    ids=["no settings", "no context", "another context"],
)
def test_a_botocore_that_keeps_its_tls_context_elsewhere_or_has_another_kind_can_be_used_all_the_same(
    tls: Proxy, manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.httpsession.PoolManager", lambda **_: manager)
    client = client_of(tls, None)
    watch(client)
    assert client._endpoint.http_session._manager is manager
