"""The client of writers that are given none: when it asks S3 first."""

import socket
import socketserver
import struct
import threading
from typing import Any, ClassVar

import boto3
import pytest

from s3writer import AccessDeniedError, MultipartUploadWriter
from s3writer._s3.client import default_client
from tests.helpers import MIB, content, data
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store
from tests.wire import Wire, cut


def ours(monkeypatch: pytest.MonkeyPatch, endpoint: str | None) -> Any:
    """The client of writers that are given none, for this endpoint."""
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
