"""What writes to a file, and so to S3: each producer as a line of code, what reads it back, and what it did meanwhile.

``python -m tests.producers`` runs them all and writes the table into docs/producers.md; the tests hold each row to
that. A producer's code sees ``stream``, a writer, and ``value``; its reader sees ``body``, the bytes that were
published, as a file, and ``lines``, the same as text. The producers stand in producers.toml.
"""

import contextlib
import html
import importlib
import io
import re
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3writer import MultipartUploadWriter
from tests.helpers import content
from tests.stores import BUCKET, free_port, seaweedfs

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "producers.md"
BEGIN, END = "<!-- made by make producers -->", "<!-- end -->"
#: What a producer may ask a file for, besides ``write``, ``close`` and the ways of a ``with`` block.
ASKABLE = {"fileno", "flush", "isatty", "read", "readable", "seek", "seekable", "tell", "truncate", "writable"}


@dataclass(frozen=True)
class Producer:
    """``writes`` is code, ``reads`` an expression for what was written, ``value`` one for what was to be written.

    ``needs`` are the modules that all three name, ``same`` is what must be true of ``read`` and ``value``, and
    ``surroundings`` the name of what must stand around the code. ``refused`` is code that asks for what no stream to S3
    can do, and ``error`` a word of the error that it gets; ``writes`` then does it all the same.
    """

    name: str
    writes: str
    reads: str
    value: str = "ROWS"
    needs: Sequence[str] = ()
    same: str = "read == value"
    surroundings: str = ""
    refused: str = ""
    error: str = ""
    is_large: bool = False


ROWS = [["id", "naïve", "text"], *([str(number), "Grüße 日本語", "a,b\"c'd"] for number in range(2000))]
TEXT = "Grüße, 日本語, 𝄞\n" * 4000
BYTES = bytes(range(256)) * 2000


def frame() -> dict[str, Any]:
    """Columns of several kinds."""
    return {
        "number": list(range(5000)),
        "fraction": [number / 7 for number in range(5000)],
        "text": [f"Grüße {number}" for number in range(5000)],
    }


@contextlib.contextmanager
def http_server() -> Iterator[dict[str, Any]]:
    """``url``, behind which the value is."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BYTES)))
            self.end_headers()
            self.wfile.write(BYTES)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield {"url": f"http://127.0.0.1:{server.server_address[1]}/file"}
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def ftp_server() -> Iterator[dict[str, Any]]:
    """``ftp``, logged in where the file ``data.bin`` is."""
    import ftplib

    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "data.bin").write_bytes(BYTES)
        authorizer = DummyAuthorizer()
        authorizer.add_anonymous(place)
        handler = type("Handler", (FTPHandler,), {"authorizer": authorizer})
        port = free_port()
        server = ThreadedFTPServer(("127.0.0.1", port), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False})
        thread.start()
        try:
            with ftplib.FTP() as ftp:
                ftp.connect("127.0.0.1", port)
                ftp.login()
                yield {"ftp": ftp}
        finally:
            server.close_all()
            thread.join()


@contextlib.contextmanager
def log() -> Iterator[dict[str, Any]]:
    """``logger``, which goes nowhere but where it is told to."""
    import logging

    logger = logging.Logger("a test's own")
    yield {"logger": logger}
    for handler in logger.handlers:
        handler.close()


def database(connection: Any) -> Any:
    connection.execute("create table t (a, b)")
    connection.executemany("insert into t values (?, ?)", [(number, f"Grüße {number}") for number in range(2000)])
    connection.commit()
    return connection


AVRO = {
    "type": "record",
    "name": "row",
    "fields": [{"name": "number", "type": "int"}, {"name": "text", "type": "string"}],
}


def rows_as_xml(tree: Any) -> Any:
    root = tree.Element("rows")
    for row in ROWS:
        tree.SubElement(root, "row").text = " ".join(row)
    return root


def message(email: Any) -> Any:
    made = email.message.EmailMessage()
    made["Subject"] = "Grüße"
    made.set_content(TEXT)
    return made


def workbook(openpyxl: Any) -> Any:
    book = openpyxl.Workbook()
    for row in ROWS[:500]:
        book.active.append(row)
    return book


def figure(matplotlib: Any) -> Any:
    made = matplotlib.figure.Figure()
    made.subplots().plot([1, 3, 2])
    return made


def restored(sqlite3: Any, script: str) -> Any:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return list(connection.execute("select * from t"))


def deserialized(sqlite3: Any, stored: bytes) -> Any:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(stored)
        return list(connection.execute("select * from t"))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, halfway."""


class Watched(MultipartUploadWriter):
    """A writer that sees what is done with it, and may be interrupted in its ``nth`` write."""

    def __init__(self, *arguments: Any, nth: int = 0, **options: Any) -> None:
        self.kinds: set[str] = set()
        self.asked: set[str] = set()
        self.writes = 0
        self.was_closed = False
        self.was_interrupted = False
        self._nth = nth
        super().__init__(*arguments, **options)

    def __getattribute__(self, name: str) -> Any:
        if name in ASKABLE and not _asked_by_itself():
            self.asked.add(name)
        return super().__getattribute__(name)

    def write(self, data: Any, /) -> int:
        self.writes += 1
        self.kinds.add(type(data).__name__)
        taken = super().write(data)
        if self.writes == self._nth:
            self.was_interrupted = True
            raise Interrupted
        return taken


def _asked_by_itself() -> bool:
    """Whether it is the writer that looks at itself. (A thread of Rust's has no Python around it.)"""
    with contextlib.suppress(ValueError):
        return str(sys._getframe(2).f_globals["__name__"]).startswith("s3writer")
    return False


def modules(producer: Producer) -> dict[str, Any]:
    """What the producer's code may name, the values and helpers of this module included."""
    for name in producer.needs:
        importlib.import_module(name)
    tops = {name.partition(".")[0] for name in producer.needs}
    return {**globals(), **{name: importlib.import_module(name) for name in tops}}


def write(producer: Producer, client: Any, key: str, nth: int = 0) -> Watched:
    """Let it write, and publish; the writer."""
    stream = Watched(BUCKET, key, client=client, nth=nth)
    run(producer, producer.writes, stream)
    return stream


def run(producer: Producer, code: str, stream: MultipartUploadWriter) -> None:
    """Do what ``code`` says, and publish."""
    names = modules(producer)
    with SURROUNDINGS[producer.surroundings]() as more:
        names |= more
        names["value"] = eval(producer.value, names)
        with stream:
            exec(code.strip(), names | {"stream": stream})
            if isinstance(stream, Watched):
                stream.was_closed = stream.closed


def read_back(producer: Producer, stored: bytes) -> bool:
    """Whether its reader finds the value in what was published."""
    names = modules(producer)
    names["value"] = eval(producer.value, names)
    names["body"] = io.BytesIO(stored)
    names["lines"] = io.TextIOWrapper(io.BytesIO(stored), "utf-8", newline="")
    names["read"] = eval(producer.reads, names)
    return bool(eval(producer.same, names))


def row(producer: Producer, stream: Watched) -> str:
    """What was seen, as a row of the table."""
    said = f"{_cell(producer.refused)}<br>is refused. Instead:<br>" if producer.refused else ""
    code, kinds, asked = _cell(producer.writes), ", ".join(sorted(stream.kinds)), ", ".join(sorted(stream.asked))
    return f"| {producer.name} | {said}{code} | {kinds} | {asked} | {'yes' if stream.was_closed else ''} |"


def _cell(code: str) -> str:
    """Code of several lines within a cell."""
    lines = (html.escape(line, quote=False).replace(" " * 4, "&nbsp;" * 4) for line in code.strip().splitlines())
    return f"<code>{'<br>'.join(lines)}</code>".replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def rows() -> dict[str, str]:
    """The rows that the page has now, by their producers."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    return {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines() if line.startswith("| ")}


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[dict[str, Any]]]] = {
    "": lambda: nullcontext({}),
    "avro": lambda: nullcontext({"schema": AVRO}),
    "command": lambda: nullcontext({"command": ["seq", "100000"]}),
    "ftp_server": ftp_server,
    "http_server": http_server,
    "log": log,
}
PRODUCERS = [Producer(**given) for given in tomllib.loads((HERE / "producers.toml").read_text())["producer"]]


def main() -> None:
    """Write the table."""
    head = ["| producer | code | writes | asks for | closes it |", "| --- | --- | --- | --- | --- |"]
    with seaweedfs() as store:
        client = store.client()
        for number, producer in enumerate(PRODUCERS):
            print(producer.name, flush=True)
            head.append(row(producer, write(producer, client, str(number))))
            if not read_back(producer, content(client, str(number)) or b""):
                raise SystemExit(f"{producer.name} does not find again what it wrote")
    table = "\n".join(["", "", *head, "", ""])
    before = PAGE.read_text()
    PAGE.write_text(re.sub(f"(?s)(?<={BEGIN}).*(?={END})", lambda _: table, before))


if __name__ == "__main__":
    main()
