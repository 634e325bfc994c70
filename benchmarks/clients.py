"""One upload by one library, in a process of its own: what it wrote, and the CPU and wall seconds and memory it took.

    python clients.py LIBRARY JOB

LIBRARY is a name in `WRITERS`; JOB is JSON: endpoint, ca, size, chunk, part_size, concurrency, and for what needs
them more. It prints JSON. Each library gets the same part size and the same number of parts in flight, or with
``defaults`` nothing at all.
"""

import contextlib
import csv
import functools
import io
import json
import os
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

MIB = 1024**2
BUCKET, KEY = "bench", "object"
CREDENTIALS = {"aws_access_key_id": "key-id", "aws_secret_access_key": "secret"}

Write = Callable[[bytes], object]


def boto_client(job: dict[str, Any], **config: Any) -> Any:
    """boto3's client for the sink, as anybody would make it, with enough connections."""
    import boto3
    from botocore.config import Config

    settings = Config(s3={"addressing_style": "path"}, max_pool_connections=job["concurrency"] + 2, **config)
    return boto3.client(
        "s3", endpoint_url=job["endpoint"], region_name="us-east-1", verify=job["ca"], config=settings, **CREDENTIALS
    )


def unless_default(job: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """``settings``, or none if the library is to use its defaults."""
    return {} if job.get("defaults") else settings


@contextlib.contextmanager
def s3writer(job: dict[str, Any]) -> Iterator[Any]:
    """s3writer: with equal parts as the others, or with its own defaults."""
    os.environ.update(
        AWS_ENDPOINT_URL=job["endpoint"],
        AWS_ACCESS_KEY_ID="key-id",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_REGION="us-east-1",
    )
    if job["ca"]:
        os.environ["AWS_CA_BUNDLE"] = job["ca"]
    from s3writer import MultipartUploadWriter

    equal: dict[str, Any] = {
        "part_size": job["part_size"],
        "max_concurrency": job["concurrency"],
        "max_memory": job["part_size"] * (job["concurrency"] + 1),
        "equal_parts": True,
    }
    with MultipartUploadWriter(
        BUCKET, KEY, **({} if job.get("defaults") else equal), **job.get("options", {})
    ) as stream:
        yield stream


@contextlib.contextmanager
def smart_open(job: dict[str, Any]) -> Iterator[Any]:
    """smart_open sends one part at a time."""
    import smart_open as library

    parameters = {"client": boto_client(job), **unless_default(job, min_part_size=job["part_size"])}
    with library.open(f"s3://{BUCKET}/{KEY}", "wb", transport_params=parameters) as stream:
        yield stream


@contextlib.contextmanager
def s3fs(job: dict[str, Any]) -> Iterator[Any]:
    """s3fs sends one part at a time."""
    import s3fs as library

    filesystem = library.S3FileSystem(
        key="key-id",
        secret="secret",
        client_kwargs={"endpoint_url": job["endpoint"], "region_name": "us-east-1", "verify": job["ca"]},
        config_kwargs={"s3": {"addressing_style": "path"}},
        **unless_default(job, max_concurrency=job["concurrency"]),
    )
    with filesystem.open(f"{BUCKET}/{KEY}", "wb", **unless_default(job, block_size=job["part_size"])) as stream:
        yield stream


@contextlib.contextmanager
def boto3(job: dict[str, Any]) -> Iterator[Any]:
    """boto3's upload_fileobj at the other end of a pipe."""
    from boto3.s3.transfer import TransferConfig

    client = boto_client(job)
    source, sink = os.pipe()
    part, count = job["part_size"], job["concurrency"]
    settings = unless_default(job, multipart_threshold=part, multipart_chunksize=part, max_concurrency=count)
    config = TransferConfig(**settings)
    with os.fdopen(source, "rb") as reader, ThreadPoolExecutor(1) as thread:
        sending = thread.submit(client.upload_fileobj, reader, BUCKET, KEY, Config=config)
        with os.fdopen(sink, "wb") as stream:
            yield stream
        sending.result()


@contextlib.contextmanager
def obstore(job: dict[str, Any]) -> Iterator[Any]:
    """obstore's buffered writer, in Rust."""
    import obstore as library
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=job["endpoint"],
        region="us-east-1",
        access_key_id="key-id",
        secret_access_key="secret",
        client_options={"allow_http": True},
    )
    settings = unless_default(job, buffer_size=job["part_size"], max_concurrency=job["concurrency"])
    with library.open_writer(store, KEY, **settings) as stream:
        yield stream


@contextlib.contextmanager
def pyarrow(job: dict[str, Any]) -> Iterator[Any]:
    """pyarrow's S3 filesystem, in C++."""
    import pyarrow.fs

    parts = urlsplit(job["endpoint"])
    options = {"tls_ca_file_path": job["ca"]} if job["ca"] else {}
    filesystem = pyarrow.fs.S3FileSystem(
        access_key="key-id",
        secret_key="secret",
        region="us-east-1",
        endpoint_override=parts.netloc,
        scheme=parts.scheme,
        **options,
    )
    with filesystem.open_output_stream(f"{BUCKET}/{KEY}") as stream:
        yield stream


@contextlib.contextmanager
def opendal(job: dict[str, Any], **options: str) -> Iterator[Any]:
    """opendal, in Rust; it sends checksums only if it is told to. With nothing set it sends each write as a part, which
    S3 refuses.
    """
    import opendal as library

    operator = library.Operator(
        "s3",
        bucket=BUCKET,
        endpoint=job["endpoint"],
        region="us-east-1",
        access_key_id="key-id",
        secret_access_key="secret",
        **options,
    )
    with operator.open(KEY, "wb", chunk=job["part_size"], concurrent=job["concurrency"]) as stream:
        yield stream


@contextlib.contextmanager
def sockets(job: dict[str, Any]) -> Iterator[Any]:
    """The floor: the same bytes, straight into as many sockets, from as many threads."""
    yield _Sockets(job)


class _Sockets:
    """Each thread makes its share of the bytes and sends it, with no more HTTP than the sink needs."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job

    def run(self, chunks: Callable[[int], Iterator[bytes]]) -> None:
        part, count = self.job["part_size"], self.job["concurrency"]
        parts = self.job["size"] // part
        errors: list[BaseException] = []

        def send(number: int) -> None:
            try:
                with self._connect() as connection:
                    for _ in range(number, parts, count):
                        head = f"PUT /{BUCKET}/{KEY}?partNumber=1 HTTP/1.1\r\nContent-Length: {part}\r\n\r\n"
                        connection.sendall(head.encode())
                        for chunk in chunks(part):
                            connection.sendall(chunk)
                        if not connection.recv(65536):
                            raise ConnectionError
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _connect(self) -> socket.socket:
        parts = urlsplit(self.job["endpoint"])
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "http":
            return connection
        return _context(self.job["ca"]).wrap_socket(connection, server_hostname=parts.hostname)


@functools.cache
def _context(ca: str) -> ssl.SSLContext:
    """One for all sockets: they share what was loaded."""
    return ssl.create_default_context(cafile=ca)


WRITERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    writer.__name__: writer for writer in (s3writer, smart_open, s3fs, boto3, obstore, pyarrow, opendal, sockets)
} | {"opendal, CRC32C": functools.partial(opendal, checksum_algorithm="crc32c")}


class Fresh:
    """Bytes that nobody has seen: slices of a random block at ever new offsets, each a new object."""

    def __init__(self, chunk: int) -> None:
        self.chunk = chunk
        self.block = os.urandom(4 * MIB + chunk)

    def __call__(self, size: int) -> Iterator[bytes]:
        offset = 0
        for _ in range(size // self.chunk):
            offset = (offset + 4099) % (4 * MIB)
            yield self.block[offset : offset + self.chunk]


def peak_memory() -> int:
    """The process's largest resident set so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_chunks(stream: Any, job: dict[str, Any]) -> None:
    """Fresh bytes, ``chunk`` at a time."""
    write: Write = stream.write
    for chunk in Fresh(job["chunk"])(job["size"]):
        write(chunk)


def write_small(stream: Any, job: dict[str, Any]) -> None:
    """The same few bytes, over and over."""
    write, line = stream.write, b"x" * job["chunk"]
    for _ in range(job["size"] // len(line)):
        write(line)


def write_at_once(stream: Any, job: dict[str, Any]) -> None:
    """Everything in a single write."""
    stream.write(job["bytes"])


def dump_json(stream: Any, job: dict[str, Any]) -> None:
    """json.dump, through a text wrapper, of rows as a web service has them."""
    rows = [
        {"id": number, "name": f"Grüße {number}", "tags": ["a", "b"], "price": number / 7} for number in range(1000)
    ]
    text = io.TextIOWrapper(stream, encoding="utf-8")
    for _ in range(job["size"] // 75_000):
        json.dump(rows, text)
    text.flush()
    text.detach()


def write_csv(stream: Any, job: dict[str, Any]) -> None:
    """csv.writer, through a text wrapper."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    row = csv.writer(text).writerow
    for number in range(job["size"] // 50):
        row([number, "some text of a row", 3.25, "Grüße", None])
    text.flush()
    text.detach()


def write_xml(stream: Any, job: dict[str, Any]) -> None:
    """Django's own XML generator, as its serializer uses it."""
    from django.utils.xmlutils import SimplerXMLGenerator

    xml = SimplerXMLGenerator(stream, "utf-8")
    xml.startDocument()
    for number in range(job["size"] // 100):
        xml.addQuickElement("field", f"Grüße {number} <&>", {"name": "title", "type": "CharField"})
    xml.endDocument()


SHAPES = {
    shape.__name__: shape for shape in (write_chunks, write_small, write_at_once, dump_json, write_csv, write_xml)
}


@contextlib.contextmanager
def bytesio(_: dict[str, Any]) -> Iterator[Any]:
    """Memory: what a write costs at the least."""
    yield io.BytesIO()


class Nothing(io.RawIOBase):
    """A raw file whose ``write`` does nothing."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return len(data)


@contextlib.contextmanager
def rawio(_: dict[str, Any]) -> Iterator[Any]:
    """What a producer takes to write to any raw file."""
    yield Nothing()


WRITERS |= {"bytesio": bytesio, "rawio": rawio}


def measure(library: str, job: dict[str, Any]) -> dict[str, float]:
    """Write ``size`` bytes in the job's shape, after a small object that warms everything up.

    ``writing`` is the time from the first write until the last one returned, ``wall`` that from opening to publishing.
    """
    writer, write = WRITERS[library], SHAPES[job.get("shape", "write_chunks")]
    if write is write_at_once:
        job["bytes"] = b"x" * job["size"]
    with writer({**job, "size": job["part_size"]}) as stream:
        stream.run(Fresh(job["chunk"])) if library == "sockets" else stream.write(b"warm")
    idle, wall, cpu = peak_memory(), time.perf_counter(), time.process_time()
    with writer(job) as stream:
        began = time.perf_counter()
        stream.run(Fresh(job["chunk"])) if library == "sockets" else write(stream, job)
        writing = time.perf_counter() - began
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "writing": writing,
        "memory": peak_memory() - idle,
    }


def measure_uploads(library: str, job: dict[str, Any]) -> dict[str, float]:
    """The first and the second upload of a process: seconds from making the writer until the object is published.

    ``ending`` is the second one's time from the last write on. Making the library's client belongs to the first.
    """
    found = {}
    chunks = list(Fresh(job["chunk"])(job["size"]))
    for name in ("first", "second"):
        began = time.perf_counter()
        with WRITERS[library](job) as stream:
            for chunk in chunks:
                stream.write(chunk)
            written = time.perf_counter()
        found[name] = time.perf_counter() - began
        found["ending"] = time.perf_counter() - written
    return found


def measure_objects(library: str, job: dict[str, Any]) -> dict[str, float]:
    """CPU seconds of ``count`` objects of ``size`` bytes, one after the other: of a writer, or boto3's put_object."""
    data = b"x" * job["size"]
    with s3writer({**job, "defaults": True}) as stream:
        stream.write(data)
    from s3writer import MultipartUploadWriter
    from s3writer._s3.client import default_client

    put = default_client().put_object
    began = time.process_time()
    for _ in range(job["count"]):
        if library == "put_object":
            put(Bucket=BUCKET, Key=KEY, Body=data)
        else:
            with MultipartUploadWriter(BUCKET, KEY) as stream:
                stream.write(data)
    return {"cpu": time.process_time() - began}


MEASURES = {"stream": measure, "uploads": measure_uploads, "objects": measure_objects}

if __name__ == "__main__":
    task = json.loads(sys.argv[2])
    print(json.dumps(MEASURES[task.get("measure", "stream")](sys.argv[1], task)))
