"""An S3 server that throws everything away, so that what is measured is the client.

It speaks the calls of an upload, plain or over TLS, as fast as it can or at S3's pace: ``latency`` seconds before each
answer, and at most ``rate`` bytes a second on each connection. A thread a connection; TLS and sockets release the GIL.

    python sink.py [--tls FOLDER] [--latency 0.03] [--rate 90e6] [--stall]

It prints its port, and answers ``GET /-/counts`` with the number of requests of each kind, and of bytes.
"""

import _ssl
import argparse
import collections
import contextlib
import ctypes
import json
import socket
import ssl
import threading
import time
from pathlib import Path

PIECE = 1024 * 1024
READ_AHEAD = 64 * 1024
SSL_CTRL_SET_READ_AHEAD = 41
XML = "<?xml version='1.0' encoding='UTF-8'?>"


class Sink:
    """Accepts connections, and counts."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.counts: collections.Counter[str] = collections.Counter()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.context = _context(Path(options.tls)) if options.tls else None

    def serve(self) -> None:
        """Serve until killed."""
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                _Conversation(self, connection).run()
        except (OSError, ValueError):
            pass


class _Conversation:
    """One connection: requests in turn."""

    def __init__(self, sink: Sink, connection: socket.socket) -> None:
        self.sink = sink
        self.connection = connection
        self.buffer = bytearray(PIECE)
        self.rest = b""

    def run(self) -> None:
        while head := self._head():
            line, *fields = head.decode("latin-1").split("\r\n")
            method, path, _ = line.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            if headers.get("expect") == "100-continue":
                self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            size = self._body(headers)
            if self.sink.options.latency and not path.startswith("/-/"):
                time.sleep(self.sink.options.latency)
            self._answer(method, path, size)

    def _head(self) -> bytes:
        data = self.rest
        while b"\r\n\r\n" not in data:
            piece = self.connection.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, self.rest = data.partition(b"\r\n\r\n")
        return head

    def _body(self, headers: dict[str, str]) -> int:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked_body()
        size = left = int(headers.get("content-length", 0))
        began = time.monotonic()
        left -= len(self.rest[:left])
        self.rest = self.rest[size:]
        while left:
            if self.sink.options.stall:
                time.sleep(3600)
            count = self.connection.recv_into(self.buffer, min(left, PIECE))
            if not count:
                raise ConnectionError
            left -= count
            if rate := self.sink.options.rate:
                time.sleep(max(0.0, (size - left) / rate - (time.monotonic() - began)))
        return size

    def _chunked_body(self) -> int:
        total = 0
        data = self.rest
        while True:
            while b"\r\n" not in data:
                data += self.connection.recv(PIECE)
            line, _, data = data.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            while len(data) < size + 2:
                data += self.connection.recv(PIECE)
            data = data[size + 2 :]
            total += size
            if size == 0:
                self.rest = data
                return total

    def _answer(self, method: str, path: str, size: int) -> None:
        path, _, query = path.partition("?")
        if path == "/-/counts":
            return self._send(200, json.dumps(self.sink.counts))
        names = {pair.partition("=")[0] for pair in query.split("&")}
        kind, status, body = "other", 200, ""
        if method == "POST" and "uploads" in names:
            kind = "create"
            body = f"{XML}<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        elif method == "POST":
            kind = "complete"
            body = f"{XML}<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
        elif method == "PUT":
            kind = "part" if "partNumber" in names else "put"
        elif method == "DELETE":
            kind, status = "abort", 204
        elif method in ("GET", "HEAD"):
            kind, status = method.lower(), 404 if method == "HEAD" and path.count("/") > 1 else 200
        self.sink.counts[kind] += 1
        self.sink.counts["bytes"] += size
        return self._send(status, "" if method == "HEAD" else body)

    def _send(self, status: int, body: str) -> None:
        head = f'HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nETag: "{"0" * 32}"\r\n'
        self.connection.sendall((head + "Content-Type: application/xml\r\n\r\n" + body).encode())


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with contextlib.suppress(AttributeError):
        _read_ahead(context)
    return context


def _read_ahead(context: ssl.SSLContext) -> None:
    """Have OpenSSL read several records at once, for which Python has no call: two calls of the system for each take a
    tenth to a fifth more of the processors, which the sink shares with what is measured. AttributeError where Python
    keeps its OpenSSL to itself.
    """
    library = ctypes.CDLL(_ssl.__file__)
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    library.SSL_CTX_ctrl(pointer, SSL_CTRL_SET_READ_AHEAD, ctypes.c_long(1), None)
    library.SSL_CTX_set_default_read_buffer_len(pointer, ctypes.c_size_t(READ_AHEAD))


def main() -> None:
    """Print the port and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", help="a folder with server.pem and server.key")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second, on each connection")
    parser.add_argument("--stall", action="store_true", help="take the head of a request and never its body")
    sink = Sink(parser.parse_args())
    print(sink.listener.getsockname()[1], flush=True)
    sink.serve()


if __name__ == "__main__":
    main()
