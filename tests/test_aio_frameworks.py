"""A server writes what a client uploads to S3. A client that goes away leaves nothing, and the server goes on.

The servers are real ones, in a thread, and so are the connections.
"""

import asyncio
import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from aiohttp import ClientPayloadError, ClientSession, web
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from s3writer import aio
from tests.helpers import MIB, content, data, logged, uploads
from tests.stores import BUCKET, Store, free_port
from tests.wire import Wire

PAYLOAD = data(17 * MIB)


@dataclass
class Handler:
    """What all servers do with an upload, and how that has ended."""

    client: Any
    ended: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    calls: int = 0

    async def __call__(self, key: str, length: int, chunks: Any) -> dict[str, int]:
        """Write ``chunks`` to ``key``."""
        self.calls += 1
        try:
            async with aio.open(f"s3://{BUCKET}/{key}", client=self.client, exact_size=length) as stream:
                async for chunk in chunks:
                    await stream.write(chunk)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()
        return {"size": stream.result.size}


Serve = Callable[[Handler], AbstractContextManager[int]]


@contextlib.contextmanager
def under_uvicorn(app: Any) -> Iterator[int]:
    """The port on which uvicorn serves ``app``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextlib.contextmanager
def starlette(handler: Handler) -> Iterator[int]:
    """Starlette under uvicorn."""

    async def upload(request: Request) -> JSONResponse:
        length = int(request.headers["content-length"])
        return JSONResponse(await handler(request.path_params["key"], length, request.stream()))

    with under_uvicorn(Starlette(routes=[Route("/{key:path}", upload, methods=["PUT"])])) as port:
        yield port


@contextlib.contextmanager
def fastapi(handler: Handler) -> Iterator[int]:
    """FastAPI under uvicorn."""
    app = FastAPI()

    @app.put("/{key:path}")
    async def upload(key: str, request: Request) -> dict[str, int]:
        return await handler(key, int(request.headers["content-length"]), request.stream())

    with under_uvicorn(app) as port:
        yield port


@contextlib.contextmanager
def aiohttp(handler: Handler, **options: Any) -> Iterator[int]:
    """The server of aiohttp."""

    async def upload(request: web.Request) -> web.Response:
        length = int(request.headers["content-length"])
        return web.json_response(await handler(request.match_info["key"], length, request.content.iter_any()))

    async def serve() -> None:
        app = web.Application()
        app.router.add_put("/{key:.*}", upload)
        runner = web.AppRunner(app, access_log=None, **options)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        serves.set()
        await asyncio.to_thread(may_end.wait)
        await runner.cleanup()

    port, serves, may_end = free_port(), threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        assert serves.wait(30)
        yield port
    finally:
        may_end.set()
        thread.join(30)
        assert not thread.is_alive()


@contextlib.contextmanager
def aiohttp_that_cancels(handler: Handler) -> Iterator[int]:
    """The server of aiohttp, which cancels the handler if its client goes away."""
    with aiohttp(handler, handler_cancellation=True) as port:
        yield port


@contextlib.contextmanager
def django(handler: Handler) -> Iterator[int]:
    """Django under uvicorn. It calls the view once it has the whole body, and cancels it if the client goes away."""
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpRequest, JsonResponse
    from django.test import override_settings
    from django.urls import path

    async def upload(request: HttpRequest, key: str) -> JsonResponse:
        async def chunks() -> Any:
            while chunk := request.read(100_000):
                yield chunk
                await asyncio.sleep(0)

        return JsonResponse(await handler(key, int(request.headers["content-length"]), chunks()))

    class Urls:
        urlpatterns = (path("<path:key>", upload),)

    settings = override_settings(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
    with settings, under_uvicorn(ASGIHandler()) as port:
        yield port


def connect(port: int) -> socket.socket:
    """A connection; uvicorn may not have begun to serve."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def put(port: int, key: str, payload: bytes) -> tuple[int, Any]:
    """What the server answers to a client that stays."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("PUT", f"/{key}", payload)
        answer = connection.getresponse()
        return answer.status, json.load(answer)


def head(key: str) -> bytes:
    """The beginning of a request that uploads the payload."""
    return f"PUT /{key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(PAYLOAD)}\r\n\r\n".encode()


def go_away(connection: socket.socket, *, with_a_reset: bool) -> None:
    """Close the connection as a client that ends, or as one that is lost."""
    if with_a_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def key() -> str:
    """A key that a URL's path holds as it is."""
    return f"uploads/{time.monotonic_ns()}"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("with_a_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        (starlette, ClientDisconnect),
        (fastapi, ClientDisconnect),
        (aiohttp, ConnectionResetError),
        (aiohttp_that_cancels, asyncio.CancelledError),
        (django, asyncio.CancelledError),
    ],
    ids=lambda value: value.__name__,
)
@pytest.mark.no_cover
def test_a_client_that_goes_away_leaves_nothing_and_the_next_one_is_served(
    store: Store, key: str, serve: Serve, expected: type[BaseException], with_a_reset: bool
) -> None:
    client = store.client()
    wire, handler, goes_on = Wire(client), Handler(client), threading.Event()
    is_sending = threading.Event()

    def wait(_: Any) -> None:
        is_sending.set()
        assert goes_on.wait(30)

    wire.on("UploadPart", wait, nth=1)
    with logged(), serve(handler) as port:
        connection = connect(port)
        connection.sendall(head(key) + PAYLOAD[: None if serve is django else 9 * MIB])
        assert is_sending.wait(30)
        go_away(connection, with_a_reset=with_a_reset)
        threading.Timer(0.3, goes_on.set).start()
        assert handler.ended.wait(30)
        assert isinstance(handler.error, expected)
        assert content(client, key) is None
        assert uploads(client, key) == []
        assert put(port, key, PAYLOAD) == (200, {"size": len(PAYLOAD)})
    assert content(client, key) == PAYLOAD


def test_a_download_whose_server_goes_away_leaves_nothing(store: Store, key: str) -> None:
    client = store.client()
    wire, is_sending = Wire(client), threading.Event()
    wire.on("UploadPart", lambda _: is_sending.set())

    def serve_and_go_away() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            length = f"HTTP/1.1 200 OK\r\nContent-Length: {len(PAYLOAD)}\r\n\r\n"
            connection.sendall(length.encode() + PAYLOAD[: 12 * MIB])
            assert is_sending.wait(30)

    async def download(url: str) -> None:
        async with (
            ClientSession() as session,
            session.get(url) as response,
            aio.open(f"s3://{BUCKET}/{key}", client=client, exact_size=response.content_length) as stream,
        ):
            async for chunk in response.content.iter_any():
                await stream.write(chunk)

    with logged(), socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve_and_go_away)
        server.start()
        with pytest.raises(ClientPayloadError):
            asyncio.run(download(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        server.join()
    assert content(client, key) is None
    assert uploads(client, key) == []


@pytest.mark.usefixtures("database")
def test_django_does_not_call_the_view_of_a_client_that_goes_away_in_the_midst_of_its_upload(
    store: Store, key: str
) -> None:
    handler = Handler(store.client())
    with django(handler) as port:
        connection = connect(port)
        connection.sendall(head(key) + PAYLOAD[: 9 * MIB])
        go_away(connection, with_a_reset=False)
        assert put(port, key, PAYLOAD) == (200, {"size": len(PAYLOAD)})
    assert (handler.calls, handler.error) == (1, None)
    assert content(store.client(), key) == PAYLOAD
