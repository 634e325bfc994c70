"""The client of writers that are given none: when it asks S3 first, and how it verifies the server."""

import gc
import os
import shutil
import socket
import socketserver
import ssl
import struct
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
import botocore
import pytest

from s3writer import AccessDeniedError, MultipartUploadWriter, NotCommittedError
from s3writer._s3.client import default_client
from tests.conftest import Running
from tests.helpers import MIB, content, data
from tests.proxies import Proxy, proxy
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store
from tests.wire import Wire, cut


def ours(monkeypatch: pytest.MonkeyPatch, endpoint: str | None) -> Any:
    """The client of writers that are given none, for this endpoint, which it reaches without a proxy. It trusts what
    botocore trusts, or what AWS_CA_BUNDLE says.
    """
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(KEY_ID, SECRET, region_name=REGION))
    return default_client(endpoint)


def test_the_default_client_asks_s3_before_2_mib_or_more_until_it_takes_a_part_at_once(
    store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(ours(monkeypatch, store.endpoint))
    wire.on("UploadPart", cut, nth=2)
    payload = data(16 * MIB)
    with MultipartUploadWriter(BUCKET, key, max_concurrency=1, equal_parts=True) as stream:
        stream.write(payload)
    for size in (2 * MIB - 1, 2 * MIB):
        with MultipartUploadWriter(BUCKET, f"{key} too") as stream:
            stream.write(data(size))
    asked = ["Expect" in request.headers for request in wire.requests]
    assert list(zip(wire.sent, asked, strict=True)) == [
        ("CreateMultipartUpload", False),
        ("UploadPart", True),
        ("UploadPart", False),
        ("UploadPart", True),
        ("UploadPart", True),
        ("UploadPart", False),
        ("CompleteMultipartUpload", False),
        ("PutObject", False),
        ("PutObject", True),
    ]
    assert content(store.client(), key) == payload


class Impatient(socketserver.StreamRequestHandler):
    """An S3 server that refuses each part but the first: if it is asked it says why, else it hangs up before it has
    the bytes.
    """

    asked: ClassVar[list[bool]] = []

    def handle(self) -> None:
        head = b"".join(iter(self.rfile.readline, b"\r\n"))
        if head.startswith(b"POST"):
            self.say(200, b"<CreateMultipartUploadResult><UploadId>some-id</UploadId></CreateMultipartUploadResult>")
        elif head.startswith(b"PUT"):
            self.asked.append(b"100-continue" in head)
            if len(self.asked) == 1:
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.rfile.read(5 * MIB)
                self.say(200, b"")
            elif self.asked[-1]:
                self.say(403, b"<Error><Code>AccessDenied</Code></Error>")
            else:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.say(404, b"<Error><Code>NoSuchUpload</Code></Error>")

    def say(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)


def test_a_part_that_is_refused_on_its_way_is_asked_for_and_the_reason_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    Impatient.asked.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Impatient) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ours(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
        stream = MultipartUploadWriter(BUCKET, "key", max_concurrency=1, equal_parts=True)
        with pytest.raises(AccessDeniedError, match="uploading part 2"), stream:
            stream.write(data(11 * MIB))
        server.shutdown()
    assert Impatient.asked == [True, False, True]


@pytest.fixture(scope="module")
def tls(running: Running) -> Iterator[Proxy]:
    """The reference store, over TLS."""
    with proxy(running["seaweedfs"]) as before_it:
        yield before_it


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


@pytest.fixture
def authorities(tls: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the authority of `tls`, as the environment names it."""
    file = tmp_path / "authorities.pem"
    shutil.copy(tls.certificate, file)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
    return file


def context_of(client: Any) -> Any:
    return client._endpoint.http_session._manager.connection_pool_kw["ssl_context"]


def replace(file: Path, content: bytes) -> None:
    """Put another file of the same age in its place."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    os.utime(new, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    new.replace(file)


def test_the_default_client_loads_the_file_of_authorities_once_and_again_if_it_was_replaced(
    store: Store, tls: Proxy, key: str, authorities: Path, loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[Any] = []
    wrap = ssl.SSLContext.wrap_socket

    def counted(context: Any, *arguments: Any, **named: Any) -> Any:
        connections.append(context)
        return wrap(context, *arguments, **named)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", counted)
    client = ours(monkeypatch, f"https://127.0.0.1:{tls.port}")
    payload = data(11 * MIB)
    with MultipartUploadWriter(BUCKET, key, max_concurrency=4) as stream:
        stream.write(payload)
    assert len(connections) > 1
    assert loads == [str(authorities)]
    assert content(store.client(), key) == payload
    replace(authorities, b"\n" + authorities.read_bytes())
    for _ in range(2):
        client.close()  # and its connections
        with MultipartUploadWriter(BUCKET, key) as stream:
            stream.write(b"again")
        assert loads == 2 * [str(authorities)]
    assert content(store.client(), key) == b"again"


def test_connections_that_are_made_at_once_wait_until_one_has_loaded_the_file(
    tls: Proxy, authorities: Path, loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ours(monkeypatch, f"https://127.0.0.1:{tls.port}")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: client.list_buckets(), range(4)))
    assert loads == [str(authorities)]


def test_other_authorities_are_loaded_and_a_file_that_can_not_be_is_an_error_each_time(
    tls: Proxy, authorities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(ours(monkeypatch, f"https://127.0.0.1:{tls.port}"))
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


def test_a_default_client_that_is_dropped_lets_go_of_its_tls_context_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = weakref.ref(context_of(ours(monkeypatch, store.endpoint)))
    gc.disable()
    try:
        ours(monkeypatch, store.endpoint)
        assert alive() is None
    finally:
        gc.enable()


def test_the_default_client_sends_nothing_to_a_server_that_no_authority_vouches_for(
    store: Store, tls: Proxy, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    ours(monkeypatch, f"https://127.0.0.1:{tls.port}")
    stream = MultipartUploadWriter(BUCKET, key)
    stream.write(b"secret")
    with pytest.raises(NotCommittedError, match="CERTIFICATE_VERIFY_FAILED"):
        stream.close()
    assert content(store.client(), key) is None


@pytest.mark.parametrize("manager", [SimpleNamespace(), SimpleNamespace(connection_pool_kw={})], ids=["none", "empty"])
def test_a_botocore_that_keeps_its_tls_context_elsewhere_has_a_default_client_all_the_same(
    store: Store, manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.httpsession.PoolManager", lambda **_: manager)
    assert ours(monkeypatch, store.endpoint).meta.endpoint_url == store.endpoint
