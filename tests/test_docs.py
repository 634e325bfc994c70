"""The pages do what they say: each piece of code and each command is run, page by page, against a real store."""

import dataclasses
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import s3writer.aio
import s3writer.segments
import s3writer.testing
from s3writer._upload.plan import DEFAULT_CONCURRENCY, MAX_PARTS, MIB, MIN_PART_BYTES, Plan, make_plan
from tests.stores import KEY_ID, REGION, SECRET, Store

GIB = 1024**3
ROOT = Path(__file__).parent.parent
S3FS = ROOT / ".venv-s3fs" / "bin" / "python"

LIBRARY = """
from pathlib import Path
from tests.library.project import fill, set_up
set_up(Path("library.sqlite3"), copy={"ENGINE": "django.db.backends.sqlite3", "NAME": "copy.sqlite3"})
fill(books=20, summary_length=100)
from django.conf import settings
from django.core.management import call_command
call_command("migrate", database="copy", run_syncdb=True, verbosity=0)
from tests.library.models import Author
settings.STORAGES = {
    "exports": {"BACKEND": "s3writer.django.storage.S3Storage", "OPTIONS": {"bucket_name": "my-bucket"}}
}
"""
STORAGE = (
    LIBRARY
    + """
settings.STORAGES["default"] = {
    "BACKEND": "s3writer.django.storage.S3Storage", "OPTIONS": {"bucket_name": "my-bucket"}
}
"""
)
UPLOADS = (
    LIBRARY
    + """
settings.ROOT_URLCONF = "__main__"
settings.ALLOWED_HOSTS = ["testserver"]
settings.SECRET_KEY = "secret"
settings.FILE_UPLOAD_HANDLERS = ["s3writer.django.uploads.S3UploadHandler"]
settings.S3WRITER = {"uploads": {"bucket": "my-bucket", "prefix": "photos/", "max_size": 100}}
from django.db import connection, models
class Photo(models.Model):
    title = models.TextField()
    key = models.TextField()
    class Meta:
        app_label = "library"
with connection.schema_editor() as editor:
    editor.create_model(Photo)
"""
)
UPLOADED = """
import unittest
from django.test import Client
result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(PhotoTest))
assert (result.testsRun, result.wasSuccessful()) == (1, True)
for size, title, status in ((50, "A dog", 201), (50, "", 422), (101, "A cow", 400)):
    form = {"title": title, "photo": SimpleUploadedFile("a.jpg", bytes(size), "image/png")}
    assert Client().post("/photos", form).status_code == status
assert [photo.key.partition("/")[0] for photo in Photo.objects.all()] == ["photos"]
class Handler:
    content_type, field_name = "text/html", "photo"
    class request:
        class user:
            pk = 1
assert (key(Handler), arguments(Handler)) == ("users/1/photo", {"ContentType": "application/octet-stream"})
urlpatterns = [path("photos", add_photo_of_user)]
from django.urls import clear_url_caches
clear_url_caches()
class Authenticated:
    def __init__(self, get_response):
        self.get_response = get_response
    def __call__(self, request):
        class user:
            is_authenticated = True
        request.user = user
        return self.get_response(request)
settings.MIDDLEWARE = ["__main__.Authenticated"]
assert Client().post("/photos", {"title": "Mine", "photo": SimpleUploadedFile("a", b"1")}).status_code == 201
assert Photo.objects.latest("pk").key.startswith("users/")
import boto3
client = boto3.client("s3")
published = {found["Key"] for found in client.list_objects_v2(Bucket="my-bucket")["Contents"]}
assert published == {photo.key for photo in Photo.objects.all()}
for key in published:  # nobody can tell them beforehand
    client.delete_object(Bucket="my-bucket", Key=key)
"""
MANAGE = """
import sys
from pathlib import Path
from tests.library.project import set_up
set_up(Path("library.sqlite3"), copy={"ENGINE": "django.db.backends.sqlite3", "NAME": "copy.sqlite3"})
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SMALL = """
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
import django
django.setup()
"""
DOWNLOAD = """
import http.server, shutil, threading, urllib.request
from s3writer import MultipartUploadWriter

class Served(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "12345")
        self.end_headers()
        self.wfile.write(bytes(12345))

    def log_message(self, *_):
        pass

served = http.server.HTTPServer(("127.0.0.1", 0), Served)
threading.Thread(target=served.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{served.server_port}/"
"""
ASYNC = """
import http.client, json, socket
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path
from s3writer import list_uploads

class Urls:
    urlpatterns = [path("videos/<name>", receive_in_django)]

def send(app, name):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1])
    connection.request("PUT", f"/videos/{name}", bytes(7 * 1024**2))
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)) == (200, {"size": 7 * 1024**2})
    connection.close()
    server.should_exit = True
    thread.join()

send(app, "fastapi.bin")
settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"])
send(get_asgi_application(), "django.bin")
payload = bytes(12 * 1024**2)
try:
    with MultipartUploadWriter("my-bucket", "async/large.bin", on_error="keep") as stream:
        stream.write(payload[: 11 * 1024**2])
        raise ConnectionError
except ConnectionError:
    [left] = list_uploads("my-bucket", "async/large.bin")
asyncio.run(go_on(left.upload_id, payload))
"""
UNKNOWN = """
import boto3
from s3writer import MultipartUploadWriter, OutcomeUnknownError
client = boto3.client("s3")
with MultipartUploadWriter("my-bucket", "unknown") as stream: stream.write(b"12345")
token = client.head_object(Bucket="my-bucket", Key="unknown")["Metadata"]["s3writer-token"]
error = OutcomeUnknownError("", "my-bucket", "unknown", token=token, size=5)
"""
AUTHOR = "from tests.library.models import Author"
SETTINGS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "library.sqlite3"}}
INSTALLED_APPS = ["tests.library"]
USE_TZ = True
"""
PROJECT = (
    ("myproject/__init__.py", ""),
    ("myproject/settings.py", SETTINGS),
    ("myproject/models.py", AUTHOR),
)
#: What the machine may not have, or would do for real. A dump is a dump.
STAND_INS = {
    "pg_dump": "seq 1 1000000",
    "pip": "true",
    "make": "true",
    "python3": 'if [ "$2" = venv ]; then mkdir -p "$3/bin"; : > "$3/bin/activate"; else exec python "$@"; fi',
}


@dataclass(frozen=True)
class Page:
    """Which objects it makes, what is run before its own code and after it, which files lie beside it, and whether its
    blocks of text are what its commands print.
    """

    objects: frozenset[str] = frozenset()
    setup: str = ""
    after: str = ""
    files: tuple[tuple[str, str], ...] = ()
    python: Path = Path(sys.executable)
    shows_output: bool = False


def page(*objects: str, **others: Any) -> Page:
    return Page(frozenset(objects), **others)


PAGES = {
    "README": page(
        "numbers.txt",
        "backups/authors.xml",
        "backups/all.jsonl",
        "reports/2026.csv.gz",
        "rows.csv.gz",
        "mydb.sql.gz",
        setup=LIBRARY,
        files=PROJECT,
    ),
    "docs/asyncio": page(
        "async/by-hand.bin",
        "async/django.bin",
        "async/download.bin",
        "async/dump.txt",
        "async/export.bin",
        "async/fastapi.bin",
        "async/gathered.bin",
        "async/large.bin",
        "async/rows.csv.gz",
        setup=DOWNLOAD,
        after=ASYNC,
    ),
    "docs/backup": page("backups/mydb.sql", "backups/mydb.sql.gz"),
    "docs/cleanup": page(),
    "docs/cli": page("backups/mydb.sql.gz", "hello.txt", "reports/today.csv"),
    "docs/close": page("rows.csv", "rows.csv.gz"),
    "docs/django": page(
        "library/authors.xml",
        "library/authors.jsonl",
        "backups/library.jsonl.gz",
        "exports/authors.csv",
        "reports/last.csv",
        "exports/pks.txt",
        setup=LIBRARY,
        files=(("manage.py", MANAGE), ("library/__init__.py", ""), ("library/models.py", AUTHOR)),
    ),
    "docs/django-storage": page("reports/authors.csv", "reports/note.txt", setup=STORAGE),
    "docs/django-uploads": page(setup=UPLOADS, after=UPLOADED),
    "docs/errors": page("export.txt", "unknown", setup=UNKNOWN, after="assert published"),
    "docs/fsspec": page(
        "fsspec/rows.csv.gz",
        "fsspec/rows.parquet",
        "fsspec/numbers.txt",
        "fsspec/typed.csv",
        "fsspec/exact.bin",
        "fsspec/report.csv",
        "fsspec/summary.csv",
        "fsspec/duck.parquet",
        python=S3FS,
    ),
    "docs/index": page("numbers.txt"),
    "docs/logging": page("logged.bin", "app.log", "traced.bin"),
    "docs/memory": page("long.bin", "own.bin"),
    "docs/migrate": page("migrate/old.csv.gz", "migrate/new.csv.gz", "migrate/report.csv", "migrate/big.bin"),
    "docs/producers": page("download.bin", setup=DOWNLOAD),
    "docs/resume": page("large.bin", "data.bin"),
    "docs/segments": page(
        "backups/rows.jsonl",
        "backups/on-dask.jsonl",
        "backups/authors.jsonl",
        "backups/rows.json.gz",
        "by-hand/rows.jsonl",
        setup=LIBRARY,
        files=PROJECT,
    ),
    "docs/stores": page("stores/rows.csv"),
    "docs/testing": page(),
    "docs/transaction": page(
        "reports/today.csv",
        "reports/tomorrow.csv",
        "reports/later.csv",
        "reports/shell.txt",
        "export/rows.csv",
        "export/manifest.json",
        setup=SMALL,
    ),
    "docs/tutorial": page(shows_output=True),  # it has a store of its own
}
BLOCK = re.compile(r'^```(python|bash)(?: title="(.*?)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)
OUTPUT = re.compile(r"^```text\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: Of a dump, its size depends on Django and zlib.
DUMPED_BYTES = re.compile(r"(auth\.jsonl\.gz published:) ?\d+")


def blocks(name: str) -> list[tuple[str, str, str]]:
    """The kind, the title and the text of each piece of code."""
    return BLOCK.findall((ROOT / f"{name}.md").read_text())


def unfolded(text: str) -> str:
    """``text`` without the spaces and the ends of lines, at which a page folds long lines."""
    return "".join(DUMPED_BYTES.sub(r"\1", text).split())


#: The reference shows imports.
PAGES |= {f"docs/{path.stem}": page() for path in ROOT.glob("docs/reference*.md")}


def test_each_page_with_code_is_run() -> None:
    names = [
        path.relative_to(ROOT).with_suffix("").as_posix() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    ]
    assert sorted(name for name in names if blocks(name)) == sorted(PAGES)


@pytest.fixture
def environment(store: Store, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell's environment, in which the pages' bucket exists."""
    client = store.client()
    client.create_bucket(Bucket="my-bucket")
    (tmp_path / "bin").mkdir()
    for name, command in STAND_INS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{command}\n")
        program.chmod(0o755)
    yield {
        **os.environ,
        "AWS_ENDPOINT_URL": str(store.endpoint),
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    for found in client.list_objects_v2(Bucket="my-bucket").get("Contents", []):
        client.delete_object(Bucket="my-bucket", Key=found["Key"])
    client.delete_bucket(Bucket="my-bucket")


def run(command: list[str], place: Path, environment: dict[str, str]) -> str:
    """What a terminal would show of the command; it has to end well."""
    ended = subprocess.run(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.parametrize("name", PAGES)
def test_a_page_does_what_it_says(environment: dict[str, str], client: Any, tmp_path: Path, name: str) -> None:
    it = PAGES[name]
    assert it.python.exists(), "make test-newest makes .venv-s3fs: s3fs wants a botocore of its own"
    code, commands = [it.setup], ["set -eo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for file, text in it.files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    for kind, title, text in blocks(name):
        if kind == "bash":
            commands.append(text)
        elif title:
            (tmp_path / title).write_text(text)
        else:
            code.append(text)
    run([str(it.python), "-c", "\n".join([*code, it.after])], tmp_path, environment)
    said = run(["bash", "-c", "\n".join(commands)], tmp_path, environment)
    if it.shows_output:
        shown = [unfolded(block) for block in OUTPUT.findall((ROOT / f"{name}.md").read_text())]
        assert unfolded(said) == "".join(shown)
    for file in {title for _, title, _ in blocks(name) if title} - set(re.findall(r"\w+\.py", " ".join(commands))):
        run([sys.executable, file], tmp_path, environment)
    published = {found["Key"] for found in client.list_objects_v2(Bucket="my-bucket").get("Contents", [])}
    assert published == it.objects
    assert client.list_multipart_uploads(Bucket="my-bucket").get("Uploads", []) == []


def test_no_command_begins_with_a_prompt_which_would_be_copied_with_it() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert [page.name for page in pages if re.search(r"^\s*(\$|>>>) ", page.read_text(), re.MULTILINE)] == []


def test_the_reference_explains_each_public_name_once() -> None:
    pages = [path.read_text() for path in (ROOT / "docs").glob("reference-*.md")]
    explained = [path for text in pages for path in re.findall(r"^::: (\S+)", text, re.MULTILINE)]
    modules = (s3writer, s3writer.aio, s3writer.segments, s3writer.testing)
    assert sorted(explained) == sorted(f"{module.__name__}.{name}" for module in modules for name in module.__all__)


def test_a_line_of_code_fits_beside_the_navigation() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    code = {page.name: re.findall(r"^```.*?^```", page.read_text(), re.DOTALL | re.MULTILINE) for page in pages}
    lines = [f"{name}: {line}" for name, found in code.items() for text in found for line in text.splitlines()]
    assert [line for line in lines if len(line.partition(": ")[2]) > 88] == []


def planned(**settings: Any) -> Plan:
    """What a writer with these settings plans, and the defaults for all others."""
    return make_plan(**{"part_size": MIN_PART_BYTES, "max_concurrency": DEFAULT_CONCURRENCY, **settings})


def lengths(plan: Plan) -> list[int]:
    """The bytes before each of the parts that S3 allows."""
    return [0, *itertools.accumulate(map(plan.size, range(1, MAX_PARTS)))]


def carried(requests: int) -> str:
    """What so many requests carry, by S3's guide: 85 to 90 MB/s each."""
    return " to ".join(f"{requests * megabytes * 10**6 / MIB:,.0f}" for megabytes in (85, 90)) + " MiB/s"


@pytest.mark.parametrize(
    ("settings", "said", "length", "longest"),
    [
        ({"max_memory": 64 * MIB}, "`64 * 1024**2`", "10 GiB", "498 GiB"),
        ({}, "not set (128 MiB)", "4 GiB", "5 TiB"),
        ({"max_memory": 128 * MIB}, "`128 * 1024**2`", "12 GiB", "963 GiB"),
        ({"max_memory": GIB}, "`1024**3`", "107 GiB", "4.9 TiB"),
        ({"max_memory": GIB, "max_concurrency": 40}, "`1024**3`, with `max_concurrency=40`", "50 GiB", "4.8 TiB"),
    ],
)
def test_the_page_on_memory_tells_how_many_parts_are_in_flight(
    settings: dict[str, int], said: str, length: str, longest: str
) -> None:
    plan = planned(**settings)
    usual = 50
    most = plan.in_flight(usual)
    assert most == max(map(plan.in_flight, range(1, MAX_PARTS + 1)))
    fewer = next(number for number in range(usual, MAX_PARTS) if plan.in_flight(number) < most)
    assert f"{lengths(plan)[fewer - 1] / GIB:.0f} GiB" == length
    assert longest in (f"{plan.longest() / GIB:.0f} GiB", f"{plan.longest() / GIB / 1024:.2g} TiB")
    row = [said, f"{most} of {plan.size(usual) // MIB} MiB", length, carried(most), longest]
    assert f"| {' | '.join(row)} |" in (ROOT / "docs" / "memory.md").read_text()


@pytest.mark.parametrize(
    ("most", "rows"),
    [
        (DEFAULT_CONCURRENCY, {"4": (6, 20), "26": (16, 7), "37": (64, 1), "74": (128, 0)}),
        (2, {"92": (42, 2), "99": (64, 1), "135": (128, 0)}),
    ],
)
def test_the_page_on_memory_tells_how_large_parts_are(most: int, rows: dict[str, tuple[int, int]]) -> None:
    plan = dataclasses.replace(planned(), max_concurrency=most)
    before = lengths(plan)
    page = (ROOT / "docs" / "memory.md").read_text()
    for length, (size, in_flight) in rows.items():
        last = max(number for number in range(1, MAX_PARTS) if plan.size(number) <= size * MIB)
        assert f"{before[last] / GIB:.0f}" == length
        assert min(plan.in_flight(number) for number in range(8, last + 1)) == in_flight
        assert f"| up to {length} GiB | {size} MiB | " in page


def test_the_page_on_memory_tells_how_large_the_parts_of_short_and_of_very_long_streams_are() -> None:
    plan = planned()
    before, page = lengths(plan), (ROOT / "docs" / "memory.md").read_text()
    least = sum(plan.size(number) == MIN_PART_BYTES for number in range(1, 100))
    assert f"| up to {least * 5} MiB | 5 MiB | {least - 1} | {least * 5} MiB |" in page
    for said, length in ("1 TiB", 1024 * GIB), ("5 TiB", 5 * 1024 * GIB):
        last = next(number for number in range(1, MAX_PARTS) if before[number] >= length)
        largest = plan.size(last)
        size = f"{largest / GIB:.2f} GiB" if largest >= GIB else f"{largest / MIB:.0f} MiB"
        assert plan.in_flight(last) == 0
        assert f"| {said} | {size} | none | {size} |" in page


@pytest.mark.parametrize(("said", "length"), [("300 GiB", 300 * GIB), ("5 TiB", 5 * 1024 * GIB)])
def test_the_page_on_memory_tells_what_an_expected_size_takes(said: str, length: int) -> None:
    plan = planned(expected_size=length)
    size = plan.size(1)
    needed = size * (DEFAULT_CONCURRENCY + 1)
    assert planned(expected_size=length, max_memory=needed).in_flight(1) == DEFAULT_CONCURRENCY
    assert planned(expected_size=length, max_memory=needed).size(1) == size
    memory = f"{needed / GIB:.2f} GiB" if needed >= GIB else f"{needed // MIB} MiB"
    row = f"| {said} | {size // MIB} MiB | {plan.in_flight(1)} | {memory} |"
    assert row in (ROOT / "docs" / "memory.md").read_text()


def test_the_page_on_costs_counts_the_requests_that_are_made() -> None:
    plan = planned()
    counts = []
    for size in (1, 100, 5 * 1024):
        sent = parts = 0
        while sent < size * GIB:
            parts += 1
            sent += plan.size(parts)
        counts.append(f"{parts + 2:,}")
    one, hundred, most = counts
    page = (ROOT / "docs" / "costs.md").read_text()
    assert f"a GiB is {one} requests, 100 GiB are {hundred}, and 5 TiB are {most}" in page
    assert f"| a GiB | {one} PUTs | {int(one) / 1000 * 0.5:.2f} cents |" in page
