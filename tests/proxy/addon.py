"""Faults on the wire, for mitmproxy: loaded by mitmdump, in an environment of its own.

``PUT /-/fault`` sets the fault of one call on one key, with a JSON body: ``key``, ``call``, ``fault``, how many
``times``, and for parts which ``part``. ``DELETE /-/fault`` takes back all those of a ``key``.
"""

import asyncio
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

from mitmproxy import ctx, http

HANG_SECONDS = 5.0
RESET_BYTES = 100_000


def call_of(request: http.Request) -> str:
    """S3's name of a call."""
    query = request.query
    if request.method == "POST":
        return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
    if request.method == "PUT":
        return "UploadPart" if "partNumber" in query else "PutObject"
    if request.method == "GET":
        return "ListParts"
    return "AbortMultipartUpload" if request.method == "DELETE" else "HeadObject"


def refusal(status: int, code: str, **headers: str) -> Callable[[http.HTTPFlow], None]:
    """The store's answer is an error."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a fault on the wire</Message></Error>"

    def answer(flow: http.HTTPFlow) -> None:
        content = "" if flow.request.method == "HEAD" else body
        flow.response = http.Response.make(status, content, {"Content-Type": "application/xml", **headers})

    return answer


def kill(flow: http.HTTPFlow) -> None:
    """The connection breaks."""
    flow.kill()


def reset_midway(flow: http.HTTPFlow) -> None:
    """The connection breaks once a part of the body is on its way to the store."""
    left = RESET_BYTES

    def pass_on(piece: bytes) -> bytes:
        nonlocal left
        left -= len(piece)
        if left < 0:
            for connection in ctx.master.addons.get("proxyserver").connections.values():
                if used := connection.transports.get(flow.client_conn):
                    used.writer.transport.abort()
            return b""  # the proxy may have the rest already: the store must not get it
        return piece

    flow.request.stream = pass_on


def flip(flow: http.HTTPFlow) -> None:
    """One byte of the body is another one."""
    content = bytearray(flow.request.content or b"")
    if content:
        content[len(content) // 2] ^= 1
        flow.request.content = bytes(content)


def cut(flow: http.HTTPFlow) -> None:
    """Half of the answer's body, then the connection breaks."""
    assert flow.response
    content = flow.response.content or b""
    flow.response.headers["Connection"] = "close"
    flow.response.headers["Content-Length"] = str(max(2, len(content)))
    flow.response.raw_content = content[: len(content) // 2]


def garble(flow: http.HTTPFlow) -> None:
    """What should be XML is not."""
    assert flow.response
    flow.response.content = b"<html><p>not what you asked for"


def pad(flow: http.HTTPFlow) -> None:
    """White space before the answer, as S3 sends while a long commit goes on."""
    assert flow.response
    content = flow.response.content or b""
    head, end, rest = content.partition(b"?>")
    flow.response.content = head + end + b" \n" * 50 + rest if end else content


def drop_etag(flow: http.HTTPFlow) -> None:
    """No ETag, neither in a header nor in the body."""
    replace_etag(flow, None)


def empty_etag(flow: http.HTTPFlow) -> None:
    """An ETag with nothing in it."""
    replace_etag(flow, "")


def replace_etag(flow: http.HTTPFlow, etag: str | None) -> None:
    assert flow.response
    if "ETag" in flow.response.headers:
        del flow.response.headers["ETag"]
        if etag is not None:
            flow.response.headers["ETag"] = etag
    head, start, rest = (flow.response.content or b"").partition(b"<ETag>")
    if start:
        flow.response.content = head + (b"" if etag is None else b"<ETag></ETag>") + rest.partition(b"</ETag>")[2]


def wrong_checksum(flow: http.HTTPFlow) -> None:
    """The answer's checksum is that of other bytes."""
    assert flow.response
    flow.response.headers["x-amz-checksum-crc64nvme"] = "AAAAAAAAAAE="


#: What is done before the body is read, before the store sees the request, and before the client sees the answer.
AT_HEAD: dict[str, Callable[[http.HTTPFlow], None]] = {
    "reset before the request": kill,
    "reset during the request": reset_midway,
}
AT_REQUEST: dict[str, Callable[[http.HTTPFlow], None]] = {
    "reset after the request": kill,
    "500": refusal(500, "InternalError"),
    "503": refusal(503, "SlowDown"),
    "200 with an error": refusal(200, "InternalError"),
    "403": refusal(403, "AccessDenied"),
    "expired token": refusal(400, "ExpiredToken"),
    "404": refusal(404, "NoSuchUpload"),
    "redirect": refusal(307, "TemporaryRedirect", Location="http://127.0.0.1:9/elsewhere"),
    "flipped byte": flip,
}
AT_ANSWER: dict[str, Callable[[http.HTTPFlow], None]] = {
    "answer lost": kill,
    "answer cut": cut,
    "500 though it acted": refusal(500, "InternalError"),
    "white space first": pad,
    "garbage": garble,
    "no ETag": drop_etag,
    "empty ETag": empty_etag,
    "wrong checksum": wrong_checksum,
}


KNOWN = {*AT_HEAD, *AT_REQUEST, *AT_ANSWER, "hang", "hang though it acted"}


class Faults:
    """The faults that are set, by key and call."""

    def __init__(self) -> None:
        self.plan: dict[tuple[str, str], dict[str, Any]] = {}

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Choose the fault."""
        if flow.request.path == "/-/fault":
            return
        key = urllib.parse.unquote(flow.request.path.partition("?")[0]).split("/", 2)[-1]
        chosen = self.plan.get((key, call_of(flow.request)))
        part = flow.request.query.get("partNumber")
        if chosen and chosen["times"] > 0 and chosen.get("part") in (None, int(part or 0)):
            chosen["times"] -= 1
            flow.metadata["fault"] = chosen["fault"]
        _do(AT_HEAD, flow)

    async def request(self, flow: http.HTTPFlow) -> None:
        """The store has not seen it yet."""
        if flow.request.path == "/-/fault":
            self._control(flow)
            return
        if flow.metadata.get("fault") == "hang":
            await asyncio.sleep(HANG_SECONDS)
        _do(AT_REQUEST, flow)

    async def response(self, flow: http.HTTPFlow) -> None:
        """The store has acted."""
        if flow.metadata.get("fault") == "hang though it acted":
            await asyncio.sleep(HANG_SECONDS)
        _do(AT_ANSWER, flow)

    def _control(self, flow: http.HTTPFlow) -> None:
        wanted = json.loads(flow.request.content or b"")
        flow.response = http.Response.make(200)
        if flow.request.method == "DELETE":
            self.plan = {place: fault for place, fault in self.plan.items() if place[0] != wanted["key"]}
        elif wanted["fault"] in KNOWN:
            self.plan[wanted["key"], wanted["call"]] = wanted
        else:
            flow.response = http.Response.make(400)


def _do(faults: dict[str, Callable[[http.HTTPFlow], None]], flow: http.HTTPFlow) -> None:
    if fault := faults.get(flow.metadata.get("fault", "")):
        fault(flow)


addons = [Faults()]
