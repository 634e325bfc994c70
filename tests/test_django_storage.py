"""The storage for Django's files: django-storages' own, whose files appear wholly or not at all."""

import csv
import gzip
import io
import json
import re
import subprocess
import sys
import tracemalloc
import uuid
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import storages.backends.s3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from django.contrib.staticfiles.management.commands import collectstatic
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection, models, transaction
from django.test import override_settings
from django.test.utils import isolate_apps
from django.utils.module_loading import import_string

from s3writer import KeyExistsError
from s3writer.django.storage import S3Storage
from tests.helpers import MIB, Boom, content, data, uploads
from tests.stages import Place, StagesOfAnySize
from tests.storages_suite import DIFFERENT
from tests.stores import BUCKET, KEY_ID, REGION, SECRET, Store

pytestmark = pytest.mark.usefixtures("database")

CUSTOMER_KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}


@pytest.fixture
def options(store: Store) -> dict[str, Any]:
    """Where the store is, in a place of this test's own."""
    return {
        "bucket_name": BUCKET,
        "endpoint_url": store.endpoint,
        "access_key": KEY_ID,
        "secret_key": SECRET,
        "region_name": REGION,
        "addressing_style": "path",
        "location": uuid.uuid4().hex,
    }


@pytest.fixture
def storage(options: dict[str, Any]) -> S3Storage:
    return S3Storage(**options)


class Failing(io.RawIOBase):
    """A file whose second half can't be read."""

    left = 6 * MIB

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.left:
            raise Boom
        self.left -= min(self.left, len(buffer))
        return len(buffer)


class Endless(io.RawIOBase):
    """A file that is long, and held nowhere."""

    left = 64 * MIB

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(self.left, len(buffer))
        self.left -= size
        return size


@pytest.mark.parametrize("size", [0, 10, 11 * MIB + 1])
def test_what_is_saved_is_read_again(storage: S3Storage, client: Any, size: int) -> None:
    name = storage.save("a/b.bin", ContentFile(data(size)))
    assert (name, storage.size(name), storage.exists(name)) == ("a/b.bin", size, True)
    assert content(client, f"{storage.location}/a/b.bin") == data(size)
    with storage.open(name) as file:
        assert file.read() == data(size)


def test_text_is_saved_in_utf_8(storage: S3Storage, client: Any) -> None:
    storage.save("text.txt", ContentFile("Grüße"))
    assert content(client, f"{storage.location}/text.txt") == "Grüße".encode()


def test_a_file_that_can_not_be_read_to_its_end_leaves_the_old_one(storage: S3Storage, client: Any) -> None:
    storage.save("old", ContentFile(b"old"))
    with pytest.raises(Boom):
        storage.save("old", File(Failing(), "old"))
    assert content(client, f"{storage.location}/old") == b"old"
    assert uploads(client, f"{storage.location}/old") == []


def test_a_long_file_is_saved_in_bounded_memory(options: dict[str, Any], client: Any) -> None:
    storage = S3Storage(**options, writer={"max_memory": 16 * MIB})
    storage.save("short", ContentFile(b"12345"))  # loads what any use of boto takes
    tracemalloc.start()
    try:
        storage.save("long", File(Endless(), "long"))
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    finally:
        tracemalloc.stop()
    assert storage.size("long") == 64 * MIB


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_file_is_written_as_its_bytes_come(storage: S3Storage, client: Any, mode: str) -> None:
    with storage.open("rows.csv", mode) as file:
        csv.writer(file).writerow([1, "Grüße"])
        assert not storage.exists("rows.csv")
        file.write(b"2\n")
    assert content(client, f"{storage.location}/rows.csv") == "1,Grüße\r\n2\n".encode()


def test_a_block_that_raises_leaves_the_old_file(storage: S3Storage, client: Any) -> None:
    storage.save("old", ContentFile(b"old"))
    with pytest.raises(Boom), storage.open("old", "wb") as file:
        file.write(data(6 * MIB))
        raise Boom
    assert content(client, f"{storage.location}/old") == b"old"


def test_a_file_that_is_closed_because_of_an_exception_is_not_published(storage: S3Storage, client: Any) -> None:
    def write() -> None:
        file = storage.open("half", "wb")
        try:
            file.write(data(6 * MIB))
            raise Boom
        finally:
            file.close()

    with pytest.raises(Boom):
        write()
    assert content(client, f"{storage.location}/half") is None


def test_a_wrapper_around_a_file_writes_all_or_nothing(storage: S3Storage, client: Any) -> None:
    with pytest.raises(Boom), io.TextIOWrapper(storage.open("text", "wb")) as text:
        text.write("half")
        raise Boom
    assert content(client, f"{storage.location}/text") is None
    with storage.open("text.gz", "wb") as file, gzip.open(file, "wt") as text:
        text.write("whole")
    with storage.open("text.gz") as file:
        assert gzip.decompress(file.read()) == b"whole"


def test_a_file_can_be_made_only_if_there_is_none(storage: S3Storage, client: Any) -> None:
    for written in (b"first", b"second"):
        file = storage.open("once", "xb")
        file.write(written)
        if written == b"first":
            file.close()
        else:
            with pytest.raises(KeyExistsError):
                file.close()
    assert content(client, f"{storage.location}/once") == b"first"


@pytest.mark.parametrize("mode", ["rw", "wx", "w+", "wwb"])
def test_a_mode_that_can_not_be_is_refused(storage: S3Storage, mode: str) -> None:
    with pytest.raises(ValueError, match="mode="):
        storage.open("a", mode)


def test_a_file_that_is_not_there_can_not_be_read(storage: S3Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open("nothing")


def test_a_written_file_can_not_be_opened_again(storage: S3Storage) -> None:
    file = storage.open("a", "wb")
    file.close()
    with pytest.raises(ValueError, match="is written once"):
        file.open("rb")


@pytest.mark.parametrize("opens", [True, False])
def test_the_object_has_the_parameters_that_django_storages_gives(
    options: dict[str, Any], client: Any, opens: bool
) -> None:
    parameters = {"CacheControl": "max-age=60", "Metadata": {"a": "b"}}
    heads = []
    for kind in (storages.backends.s3.S3Storage, S3Storage):
        storage = kind(**options, object_parameters=parameters, default_acl="private")
        for name in ("picture.png", "text.csv.gz", "unknown"):
            if opens:
                with storage.open(name, "wb") as file:
                    file.write(b"12345")
            else:
                storage.save(name, ContentFile(b"12345"))
            head = client.head_object(Bucket=BUCKET, Key=f"{storage.location}/{name}")
            assert ("s3writer-token" in head["Metadata"]) == (kind is S3Storage)
            head["Metadata"].pop("s3writer-token", None)
            heads.append([head.get(field) for field in ("ContentType", "ContentEncoding", "CacheControl", "Metadata")])
    assert heads[:3] == heads[3:]
    assert heads[0] == ["image/png", None, "max-age=60", {"a": "b"}]


def test_a_checksum_algorithm_among_the_parameters_is_kept(options: dict[str, Any], client: Any) -> None:
    storage = S3Storage(**options, object_parameters={"ChecksumAlgorithm": "SHA256"})
    storage.save("checked", ContentFile(b"12345"))
    head = client.head_object(Bucket=BUCKET, Key=f"{storage.location}/checked", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == b64encode(sha256(b"12345").digest()).decode()


def test_the_browser_s_content_type_is_kept(storage: S3Storage, client: Any) -> None:
    upload = ContentFile(b"12345")
    upload.content_type = "image/webp"
    storage.save("picture", upload)
    assert client.head_object(Bucket=BUCKET, Key=f"{storage.location}/picture")["ContentType"] == "image/webp"


def test_files_of_some_types_are_saved_compressed(options: dict[str, Any], client: Any) -> None:
    storage = S3Storage(**options, gzip=True)
    storage.save("style.css", ContentFile("a {}" * 1000))
    storage.save("picture.png", ContentFile(b"12345"))
    stored = content(client, f"{storage.location}/style.css")
    assert stored is not None
    assert gzip.decompress(stored) == b"a {}" * 1000
    assert client.head_object(Bucket=BUCKET, Key=f"{storage.location}/style.css")["ContentEncoding"] == "gzip"
    assert content(client, f"{storage.location}/picture.png") == b"12345"


def test_what_says_its_encoding_is_not_compressed_again(options: dict[str, Any], client: Any) -> None:
    storage = S3Storage(**options, gzip=True, object_parameters={"ContentEncoding": "br"})
    storage.save("style.css", ContentFile(b"compressed before"))
    assert content(client, f"{storage.location}/style.css") == b"compressed before"


def test_a_condition_among_the_parameters_is_kept(options: dict[str, Any], client: Any) -> None:
    storage = S3Storage(**options, object_parameters={"IfNoneMatch": "*"})
    storage.save("once", ContentFile(b"first"))
    with pytest.raises(KeyExistsError):
        storage.save("once", ContentFile(b"second"))
    assert content(client, f"{storage.location}/once") == b"first"


def test_a_file_is_encrypted_with_a_customer_s_key(options: dict[str, Any], client: Any) -> None:
    storage = S3Storage(**options, object_parameters=CUSTOMER_KEY)
    storage.save("secret", ContentFile(data(6 * MIB)))
    found = client.get_object(Bucket=BUCKET, Key=f"{storage.location}/secret", **CUSTOMER_KEY)
    assert found["Body"].read() == data(6 * MIB)
    with storage.open("secret") as file:
        assert file.read() == data(6 * MIB)


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({}, 10),
        ({"transfer_config": TransferConfig(max_concurrency=3)}, 3),
        ({"client_config": Config(max_pool_connections=4)}, 4),
        (
            {
                "client_config": Config(max_pool_connections=50),
                "transfer_config": TransferConfig(max_concurrency=50),
            },
            50,
        ),
        ({"transfer_config": TransferConfig(use_threads=False)}, 1),
        ({"writer": {"max_concurrency": 2}}, 2),
    ],
)
def test_no_more_connections_are_used_than_the_storage_may(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], most: int
) -> None:
    made = []
    monkeypatch.setattr("s3writer.django.storage._File", lambda *_, **options: made.append(options))
    S3Storage(**options, **given).open("a", "wb")
    assert [options["max_concurrency"] for options in made] == [most]


def test_the_buffer_of_django_storages_is_the_size_of_a_part(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr("s3writer.django.storage._File", lambda *_, **options: made.append(options["part_size"]))
    for size in (1, 8 * MIB):
        with override_settings(AWS_S3_FILE_BUFFER_SIZE=size):
            S3Storage(**options).open("a", "wb")
    assert made == [5 * MIB, 8 * MIB]


@pytest.mark.parametrize(
    "parameters", [{"ChecksumType": "FULL_OBJECT"}, {"MpuObjectSize": 5}, {"ChecksumCRC32": "AAAAAA=="}]
)
def test_a_parameter_that_the_writer_sets_is_refused(options: dict[str, Any], parameters: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(parameters))} can't be given"):
        S3Storage(**options, object_parameters=parameters).save("a", ContentFile(b"12345"))


@pytest.mark.parametrize("writer", [[], {"bucket": "other"}, {"client": None}])
def test_options_that_only_the_storage_sets_are_refused(options: dict[str, Any], writer: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="writer must be a dict"):
        S3Storage(**options, writer=writer)


class TestStages(StagesOfAnySize):
    """A file is saved, or opened and written."""

    @pytest.fixture(params=["save", "open"])
    def place(self, storage: S3Storage, client: Any, request: pytest.FixtureRequest) -> Place:
        def save(payload: bytes) -> None:
            storage.save("file", ContentFile(payload))

        def write(payload: bytes) -> None:
            with storage.open("file", "wb") as file:
                for start in range(0, len(payload), MIB):
                    file.write(payload[start : start + MIB])

        key, writing = f"{storage.location}/file", storage.connection.meta.client
        return Place(client, BUCKET, key, writing, save if request.param == "save" else write)


@pytest.fixture
def default(options: dict[str, Any]) -> Iterator[None]:
    """The storage is that of the project."""
    with override_settings(
        STORAGES={
            "default": {"BACKEND": "s3writer.django.storage.S3Storage", "OPTIONS": options},
            "staticfiles": {"BACKEND": "s3writer.django.storage.S3ManifestStaticStorage", "OPTIONS": options},
        }
    ):
        yield


@pytest.mark.usefixtures("default")
def test_it_is_the_default_storage(client: Any) -> None:
    name = default_storage.save("a.txt", ContentFile(b"12345"))
    assert content(client, f"{default_storage.location}/{name}") == b"12345"
    assert default_storage.listdir("") == ([], ["a.txt"])
    default_storage.delete(name)
    assert not default_storage.exists(name)


@pytest.mark.usefixtures("default")
def test_a_file_field_stores_replaces_and_deletes_its_file(client: Any) -> None:
    with isolate_apps("tests.library"):

        class Document(models.Model):
            file = models.FileField(upload_to="documents")

            class Meta:
                app_label = "library"

    with connection.schema_editor() as editor:
        editor.create_model(Document)
    try:
        document = Document.objects.create(file=ContentFile(b"first", "a.txt"))
        found = Document.objects.get(pk=document.pk)
        with found.file.open() as file:
            assert (found.file.name, file.read()) == ("documents/a.txt", b"first")
        found = Document.objects.get(pk=document.pk)
        with pytest.raises(Boom), found.file.open("wb") as file:
            file.write(b"half")
            raise Boom
        assert content(client, f"{default_storage.location}/documents/a.txt") == b"first"
        with Document.objects.get(pk=document.pk).file.open("wb") as file:
            file.write(b"second")
        assert content(client, f"{default_storage.location}/documents/a.txt") == b"second"
        found.file.delete()
        assert content(client, f"{default_storage.location}/documents/a.txt") is None
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Document)


@pytest.mark.usefixtures("default")
@pytest.mark.parametrize("kind", ["S3StaticStorage", "S3ManifestStaticStorage"])
def test_collectstatic_puts_static_files_there(options: dict[str, Any], client: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "site.css").write_text("body { background: url(dot.png) }")
    (tmp_path / "dot.png").write_bytes(data(6 * MIB))
    backend = {"BACKEND": f"s3writer.django.storage.{kind}", "OPTIONS": options}
    with override_settings(
        INSTALLED_APPS=["django.contrib.staticfiles", "tests.library", "s3writer.django"],
        STATICFILES_DIRS=[tmp_path],
        STATIC_URL="/static/",
        STORAGES={"staticfiles": backend},
    ):
        call_command(collectstatic.Command(), interactive=False, verbosity=0)
        call_command(collectstatic.Command(), interactive=False, verbosity=0)
    place = options["location"]
    assert content(client, f"{place}/dot.png") == data(6 * MIB)
    names = {found["Key"] for found in client.list_objects_v2(Bucket=BUCKET, Prefix=place)["Contents"]}
    assert f"{place}/site.css" in names
    assert (f"{place}/staticfiles.json" in names) == (kind == "S3ManifestStaticStorage")


NAMED_IN_SETTINGS = """
from django.conf import settings
from django.core.files.storage import storages
settings.configure(STORAGES={"default": {"BACKEND": "s3writer.django.storage.S3Storage"}})
storages["default"]
"""


@pytest.mark.parametrize("use", ["import s3writer.django.storage", NAMED_IN_SETTINGS], ids=["imported", "in settings"])
@pytest.mark.traces_processes
def test_without_django_storages_the_error_says_what_to_install(use: str) -> None:
    code = f"import sys; sys.modules['storages'] = None\n{use}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "needs django-storages: pip install 's3writer[django-storages]'" in ended.stderr.splitlines()[-1]


DBBACKUP = """
import json, sys
from django.conf import settings
database, options = sys.argv[1], json.loads(sys.argv[2])
place = options.pop("location")
s3 = {"BACKEND": "s3writer.django.storage.S3Storage"}
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
    INSTALLED_APPS=["tests.library", "dbbackup"],
    STORAGES={
        "default": {**s3, "OPTIONS": {**options, "location": f"{place}/media"}},
        "dbbackup": {**s3, "OPTIONS": {**options, "location": f"{place}/backups"}},
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
import django
django.setup()
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from tests.library.models import Author
call_command("migrate", run_syncdb=True, verbosity=0)
Author.objects.create(name="Grüße")
default_storage.save("documents/a.txt", ContentFile(b"12345"))
call_command("dbbackup", compress=True, quiet=True)
call_command("mediabackup", quiet=True)
Author.objects.all().delete()
default_storage.delete("documents/a.txt")
call_command("dbrestore", uncompress=True, interactive=False, quiet=True)
call_command("mediarestore", interactive=False, quiet=True)
print(ascii([author.name for author in Author.objects.all()]), default_storage.open("documents/a.txt").read())
"""


def test_django_dbbackup_stores_a_database_and_its_files_and_restores_them(
    options: dict[str, Any], client: Any, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", DBBACKUP, str(tmp_path / "database"), json.dumps(options)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("['Gr\\xfc\\xdfe'] b'12345'\n", "")
    found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{options['location']}/backups/")["Contents"]
    assert sorted(Path(each["Key"]).suffix for each in found) == [".gz", ".metadata", ".tar"]


@pytest.mark.usefixtures("default")
def test_django_import_export_keeps_the_rows_to_import_there(client: Any) -> None:
    from tests.library.models import Author

    storage = import_string("import_export.tmp_storages.MediaStorage")
    resource = import_string("import_export.resources.modelresource_factory")(Author)()
    asked = storage(encoding="utf-8", read_mode="r")
    asked.save("id,name\n,Grüße\n")
    key = f"{default_storage.location}/django-import-export/{asked.name}"
    assert content(client, key) == "id,name\n,Grüße\n".encode()
    confirmed = storage(name=asked.name, encoding="utf-8", read_mode="r")
    with transaction.atomic():
        rows = import_string("tablib.Dataset")().load(confirmed.read().decode(), format="csv")
        resource.import_data(rows, raise_errors=True)
        assert Author.objects.filter(name="Grüße").count() == 1
        transaction.set_rollback(True)
    confirmed.remove()
    assert content(client, key) is None


def test_the_page_names_each_test_of_django_storages_that_fails() -> None:
    page = (Path(__file__).parents[1] / "docs/django-storage.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(test_\w+)` \|", page, re.MULTILINE) == [name.rpartition(".")[2] for name in DIFFERENT]
