"""What is in the bucket after something went wrong, with each library: three tables of docs/comparison.md.

``python benchmarks/compare.py --s3fs-python PATH --aioboto3-python PATH`` (``make compare``) makes each writer write to
SeaweedFS, lets the event happen in a process of its own, and then asks the store.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.stores import BUCKET, KEY_ID, REGION, SECRET, seaweedfs

PAGE = Path(__file__).parent.parent / "docs" / "comparison.md"
#: What each file writes, in parts of 5 MiB where that can be set, and each coroutine, in parts of 8 MiB.
SIZE, ASYNC_SIZE = 6 * 1024**2, 20 * 1024**2

#: How each library's writer is made for ``bucket`` and ``key``.
WRITERS = {
    "s3writer": "import s3writer; w = s3writer.MultipartUploadWriter(bucket, key)",
    "smart_open": """
import smart_open
w = smart_open.open(f"s3://{bucket}/{key}", "wb", transport_params={"min_part_size": 5 * 1024**2})""",
    "s3fs": """
import s3fs
w = s3fs.S3FileSystem(endpoint_url=endpoint).open(f"{bucket}/{key}", "wb", block_size=5 * 1024**2)""",
    "obstore": """
import obstore
store = obstore.store.S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True})
w = obstore.open_writer(store, key, buffer_size=5 * 1024**2)""",
    "pyarrow": """
import pyarrow.fs
w = pyarrow.fs.S3FileSystem(endpoint_override=endpoint, scheme="http").open_output_stream(f"{bucket}/{key}")""",
    "django-storages": """
from django.conf import settings
settings.configure()
from storages.backends.s3 import S3Storage
w = S3Storage(bucket_name=bucket, endpoint_url=endpoint, addressing_style="path").open(key, "wb")""",
    "boto3, a pipe and a thread": """
import boto3, os, threading
end, begin = os.pipe()
w = os.fdopen(begin, "wb")
upload = threading.Thread(target=boto3.client("s3").upload_fileobj, args=(os.fdopen(end, "rb"), bucket, key))
upload.start()""",
}
#: s3writer behind the doors of other libraries.
EDGES = {
    "`s3w://`": """
import fsspec
w = fsspec.filesystem("s3w", endpoint_url=endpoint).open(f"{bucket}/{key}", "wb")""",
    "`S3Storage`": """
from django.conf import settings
settings.configure()
from s3writer.django.storage import S3Storage
w = S3Storage(bucket_name=bucket, endpoint_url=endpoint, addressing_style="path").open(key, "wb")""",
}
#: What is done with it, by the column of the table; ``data`` is SIZE bytes.
EVENTS = {
    "`with writer`": "with w: w.write(data); raise Boom",
    "`TextIOWrapper`": 'with io.TextIOWrapper(w) as text: text.write("x" * len(data)); raise Boom',
    "`GzipFile`": """
with w, gzip.GzipFile(fileobj=w, mode="wb", compresslevel=0) as packed: packed.write(data); raise Boom""",
    "`finally`": """
try: w.write(data); raise Boom
finally: w.close()""",
    "dropped": "w.write(data); del w; gc.collect(); raise Boom",
}
#: The uploads of aio.py.
COROUTINES = {"s3writer.aio": "s3writer", "obstore": "obstore", "aioboto3": "aioboto3"}
#: How the source of their bytes ends, by the column of the table.
ASYNC_EVENTS = {
    "the source raises": "raise Boom",
    "the task is cancelled": "task.cancel(); await asyncio.sleep(3600)",
    "`asyncio.run` ends": "ending.set(); await asyncio.sleep(3600)",
}


def main() -> None:
    """Try all, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3fs-python", default=sys.executable)
    parser.add_argument("--aioboto3-python", default=sys.executable)
    options = parser.parse_args()
    python = {"s3fs": options.s3fs_python, "`s3w://`": options.s3fs_python, "aioboto3": options.aioboto3_python}
    with seaweedfs() as store:
        for mark, names, events, program in (
            ("", WRITERS, EVENTS, file_program),
            (", edges", EDGES, EVENTS, file_program),
            (", coroutines", COROUTINES, ASYNC_EVENTS, coroutine_program),
        ):
            rows = [f"| | {' | '.join(events)} |", f"| --- |{' --- |' * len(events)}"]
            for name in names:
                key = re.sub(r"\W+", "-", f"key{name}")
                found = [
                    outcome(store, python.get(name, sys.executable), f"{key}-{number}", program(names[name], event))
                    for number, event in enumerate(events.values())
                ]
                rows.append(f"| {name} | {' | '.join(found)} |")
                print(rows[-1], flush=True)
            table = "\n".join(["", "", *rows, "", ""])
            between = f"(?s)(?<=<!-- made by make compare{mark} -->).*?(?=<!-- end -->)"
            PAGE.write_text(re.sub(between, lambda _, table=table: table, PAGE.read_text()))


def file_program(writer: str, event: str) -> str:
    """A program that lets ``event`` happen to a file."""
    return f"""
import gc, gzip, io
data = bytes({SIZE})
{writer}
code = {event!r}
try:
    exec(code.strip())
except Boom:
    print("Boom", file=sys.stderr)
if "upload" in globals():
    upload.join()
"""


def coroutine_program(upload: str, event: str) -> str:
    """A program in which the source of a coroutine's bytes ends with ``event``."""
    return f"""
import asyncio
sys.path.insert(0, {str(Path(__file__).parent)!r})
import aio
aio.BUCKET, aio.KEY, aio.KEY_ID, aio.SECRET = bucket, key, {KEY_ID!r}, {SECRET!r}
async def main():
    async def pieces():
        async for piece in aio.produce({ASYNC_SIZE}):
            yield piece
        print("Boom", file=sys.stderr)
        {event}
    ending = asyncio.Event()
    task = asyncio.create_task(aio.{upload}(endpoint, pieces()))
    await asyncio.wait([task, asyncio.create_task(ending.wait())], return_when=asyncio.FIRST_COMPLETED)
asyncio.run(main())
"""


def outcome(store: Any, python: str, key: str, program: str) -> str:
    """What there is under the key after the program, which says that the event has happened."""
    client = store.client()
    start = f"""
import sys
class Boom(Exception): pass
bucket, key, endpoint = {BUCKET!r}, {key!r}, {store.endpoint!r}
"""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": str(store.endpoint),
    }
    command = [python, "-c", start + program]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if "Boom" not in ended.stderr:
        return "impossible"
    objects = client.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", [])
    uploads = [one for one in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) if one["Key"] == key]
    if objects:
        return "**truncated**"
    return "upload left" if uploads else "nothing"


if __name__ == "__main__":
    main()
