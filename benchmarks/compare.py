"""What is in the bucket after something went wrong, with each library: the first table of docs/comparison.md.

``python benchmarks/compare.py --s3fs-python PATH`` (``make compare``) makes each writer write 6 MiB in parts of 5 MiB
to SeaweedFS, lets the event happen in a process of its own, and then asks the store.
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
BEGIN, END = "<!-- made by make compare -->", "<!-- end -->"
SIZE = 6 * 1024**2

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
#: What is done with it, by the column of the table; ``data`` is SIZE bytes.
EVENTS = {
    "`with writer`": "with w: w.write(data); raise Boom",
    "`TextIOWrapper`": 'with io.TextIOWrapper(w) as text: text.write("x" * len(data)); raise Boom',
    "`GzipFile`": """
with w, gzip.GzipFile(fileobj=w, mode="wb", compresslevel=0) as packed: packed.write(data); raise Boom""",
    "`finally`": """
try: w.write(data); raise Boom
finally: w.close()""",
    "dropped": "w.write(data); del w; gc.collect()",
}


def main() -> None:
    """Try all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3fs-python", default=sys.executable)
    python = {"s3fs": parser.parse_args().s3fs_python}
    rows = [f"| | {' | '.join(EVENTS)} |", f"| --- |{' --- |' * len(EVENTS)}"]
    with seaweedfs() as store:
        for name in WRITERS:
            found = [outcome(store, python.get(name, sys.executable), name, event) for event in EVENTS]
            rows.append(f"| {name} | {' | '.join(found)} |")
            print(rows[-1], flush=True)
    table = "\n".join(["", "", *rows, "", ""])
    PAGE.write_text(re.sub(f"(?s)(?<={BEGIN}).*(?={END})", lambda _: table, PAGE.read_text()))


def outcome(store: Any, python: str, name: str, event: str) -> str:
    """What there is under the key after the event."""
    client, key = store.client(), re.sub(r"\W+", "-", f"{name} {event}")
    program = f"""
import gc, gzip, io, sys
class Boom(Exception): pass
bucket, key, endpoint, data = {BUCKET!r}, {key!r}, {store.endpoint!r}, bytes({SIZE})
{WRITERS[name]}
code = {EVENTS[event]!r}
try:
    exec(code.strip())
except Boom:
    print("Boom", file=sys.stderr)
if "upload" in globals():
    upload.join()
"""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": str(store.endpoint),
    }
    command = [python, "-c", program]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if "Boom" not in ended.stderr and "raise" in EVENTS[event]:
        return "impossible"
    objects = client.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", [])
    uploads = [one for one in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) if one["Key"] == key]
    if objects:
        return "**truncated**"
    return "upload left" if uploads else "nothing"


if __name__ == "__main__":
    main()
