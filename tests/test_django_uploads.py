"""Files that a browser sends: they go to S3 as they come, and a view decides whether they are published."""

import asyncio
import contextlib
import copy
import gc
import io
import socket
import subprocess
import sys
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import pytest
from asgiref.sync import sync_to_async
from django import forms
from django.core.exceptions import ImproperlyConfigured, RequestDataTooBig, SynchronousOnlyOperation
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import (
    FileUploadHandler,
    MemoryFileUploadHandler,
    SkipFile,
    StopFutureHandlers,
    StopUpload,
)
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import WSGIRequestHandler
from django.db import transaction
from django.db.transaction import TransactionManagementError
from django.http import HttpResponse
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.test import Client, RequestFactory, TestCase, override_settings
from django.urls import path

from s3writer import (
    AbortedError,
    AccessDeniedError,
    ConnectionFailedError,
    MultipartUploadWriter,
    OutcomeUnknownError,
    PendingUpload,
)
from s3writer._upload import at_exit
from s3writer._upload.jobs import Job
from s3writer.django.options import writer_options
from s3writer.django.uploads import S3UploadedFile, S3UploadHandler
from s3writer.testing import MemoryS3
from tests.conftest import join_aborts
from tests.helpers import MIB, Boom, content, data, logged, uploads
from tests.stages import Place, Stages
from tests.stores import BUCKET, Store
from tests.wire import Wire, cut, interrupt, refuse, unreachable

pytestmark = pytest.mark.usefixtures("database", "settings")

HANDLER = "s3writer.django.uploads.S3UploadHandler"
View = Callable[[Any], HttpResponse]


class Two(forms.Form):
    """A form with two files, and a text that must be there."""

    title = forms.CharField(max_length=5)
    photo = forms.FileField()
    other = forms.FileField(required=False)


class Now:
    """What the test that is running has put in place of a project: its view, its store, and the files it has seen."""

    view: View
    store: Any
    folder: str
    seen: list[S3UploadedFile]
    has_come: threading.Event


def view(request: Any) -> Any:
    """Whatever the test wants."""
    return Now.view(request)


async def dropped(request: Any) -> HttpResponse:
    """Take the form, and wait until the client goes away."""
    Now.seen = [request.FILES["photo"]]
    Now.has_come.set()
    await asyncio.sleep(60)
    raise AssertionError("nobody has cancelled it")


urlpatterns = [path("upload", view), path("dropped", dropped)]


def make_client() -> Any:
    return Now.store.client()


def settings_with(**uploads: Any) -> Any:
    """Those of a project whose uploads have these options."""
    return override_settings(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        FILE_UPLOAD_HANDLERS=[HANDLER],
        S3WRITER={
            "client": f"{__name__}.make_client",
            "uploads": {"bucket": BUCKET, "key": f"{__name__}.keep", **uploads},
        },
    )


def keep(handler: Any) -> str:
    """A key of this test's own, which tells the field."""
    return f"{Now.folder}/{handler.field_name}"


@pytest.fixture
def settings(store: Store, folder: str) -> Iterator[None]:
    Now.store, Now.folder, Now.seen = store, folder, []
    with settings_with():
        yield
    Now.seen = []


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


def form_of(request: Any) -> Two:
    form = Two(request.POST, request.FILES)
    Now.seen = [file for _, files in request.FILES.lists() for file in files]
    return form


def publishing(request: Any) -> HttpResponse:
    form = form_of(request)
    if not form.is_valid():
        return HttpResponse(str(form.errors), status=422)
    for name in ("photo", "other"):
        if form.cleaned_data[name]:
            form.cleaned_data[name].commit()
    return HttpResponse("published")


def photo(size: int = 10, name: str = "photo.jpg") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data(size), "image/jpeg")


def post(run: View, **fields: Any) -> Any:
    """Send a form as a browser does."""
    Now.view = staticmethod(run)
    return Client().post("/upload", {"title": "short", "photo": photo(), **fields})


@pytest.mark.parametrize("size", [1, 5 * MIB, 11 * MIB + 1])
def test_a_file_that_the_view_commits_is_published_whole(client: Any, folder: str, size: int) -> None:
    answer = post(publishing, photo=photo(size))
    assert (answer.status_code, content(client, f"{folder}/photo")) == (200, data(size))
    (file,) = Now.seen
    assert file.result is not None
    assert (file.result.key, file.result.size) == (f"{folder}/photo", size)


def test_both_files_of_a_form_are_published(client: Any, folder: str) -> None:
    assert post(publishing, photo=photo(6 * MIB), other=photo(7 * MIB)).status_code == 200
    assert content(client, f"{folder}/photo") == data(6 * MIB)
    assert content(client, f"{folder}/other") == data(7 * MIB)


class TestStages(Stages):
    """A file of a form is published by the view."""

    @pytest.fixture
    def place(self, client: Any, folder: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> Place:
        writing = store.client()
        monkeypatch.setattr(f"{__name__}.make_client", lambda: writing)

        def write(payload: bytes) -> None:
            assert post(publishing, photo=SimpleUploadedFile("photo.jpg", payload)).status_code == 200

        return Place(client, BUCKET, f"{folder}/photo", writing, write)


def test_a_file_knows_what_the_browser_said_and_where_it_will_be(folder: str) -> None:
    assert post(publishing, photo=photo(12)).status_code == 200
    (file,) = Now.seen
    assert (file.name, file.size, file.content_type, file.field_name) == ("photo.jpg", 12, "image/jpeg", "photo")
    assert (file.bucket, file.key, file.pending.size) == (BUCKET, f"{folder}/photo", 12)


def test_nothing_is_published_before_the_commit(client: Any, folder: str) -> None:
    def looking(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        before = content(client, file.key), len(uploads(client, file.key))
        result = file.commit_now()
        return HttpResponse(f"{before} {result.size}")

    assert post(looking).content == b"(None, 1) 10"
    assert content(client, f"{folder}/photo") == data(10)


def test_an_invalid_form_leaves_nothing(client: Any, folder: str) -> None:
    answer = post(publishing, title="much too long", photo=photo(6 * MIB))
    assert answer.status_code == 422
    assert (content(client, f"{folder}/photo"), uploads(client, f"{folder}/photo")) == (None, [])


def test_an_empty_file_is_refused_by_the_form_and_leaves_nothing(client: Any, folder: str) -> None:
    assert b"The submitted file is empty" in post(publishing, photo=photo(0)).content
    assert (content(client, f"{folder}/photo"), uploads(client, f"{folder}/photo")) == (None, [])


def test_a_view_that_raises_leaves_nothing(client: Any, folder: str) -> None:
    def raising(request: Any) -> HttpResponse:
        form_of(request)
        raise Boom

    with pytest.raises(Boom):
        post(raising, photo=photo(6 * MIB))
    assert (content(client, f"{folder}/photo"), uploads(client, f"{folder}/photo")) == (None, [])


def test_a_committed_transaction_publishes(client: Any, folder: str) -> None:
    def committing(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        with transaction.atomic():
            returned = file.commit()
            within = content(client, file.key)
        return HttpResponse(f"{returned!r} {within!r} {file.result.size}")

    assert post(committing).content == b"None None 10"
    assert content(client, f"{folder}/photo") == data(10)


def test_a_file_knows_that_its_pending_upload_was_published(memory: MemoryS3, folder: str) -> None:
    def committing(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        before = file.result
        with transaction.atomic():
            transaction.on_commit(file.pending.commit)
        memory.calls.clear()
        return HttpResponse(f"{before} {file.result.key}")

    assert post(committing).content.decode() == f"None {folder}/photo"
    assert memory.objects == {f"s3://{BUCKET}/{folder}/photo": data(10)}
    assert memory.calls == []


def test_a_commit_waits_for_the_transaction_of_the_database_that_it_names(client: Any, folder: str) -> None:
    def committing(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        with transaction.atomic(using="copy"):
            within = file.commit(using="copy"), content(client, file.key)
        return HttpResponse(f"{within} {file.result.size}")

    assert post(committing).content == b"(None, None) 10"
    assert content(client, f"{folder}/photo") == data(10)


def test_a_transaction_that_is_rolled_back_publishes_nothing_and_leaves_nothing(client: Any, folder: str) -> None:
    def failing(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        with pytest.raises(Boom), transaction.atomic():
            file.commit()
            raise Boom
        return HttpResponse("rolled back")

    assert post(failing).content == b"rolled back"
    assert (content(client, f"{folder}/photo"), uploads(client, f"{folder}/photo")) == (None, [])


def test_a_file_waits_for_a_transaction_that_is_longer_than_the_request(client: Any, folder: str) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True), transaction.atomic():
        assert post(publishing).status_code == 200
        assert content(client, f"{folder}/photo") is None
    assert content(client, f"{folder}/photo") == data(10)


@pytest.mark.parametrize("within", [True, False], ids=["within the request", "after it"])
def test_a_savepoint_that_is_rolled_back_does_not_take_back_what_was_committed_before(
    client: Any, folder: str, within: bool
) -> None:
    def commit_in_vain(file: S3UploadedFile) -> None:
        with pytest.raises(Boom), transaction.atomic():
            file.commit()
            raise Boom

    def committing(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        file.commit()
        if within:
            commit_in_vain(file)
        return HttpResponse("later")

    with TestCase.captureOnCommitCallbacks(execute=True), transaction.atomic():
        assert post(committing).content == b"later"
        if not within:
            commit_in_vain(Now.seen[0])
        gc.collect()
        join_aborts()
    assert content(client, f"{folder}/photo") == data(10)


class NoDatabase:
    """A database that must not be connected to."""

    connection = None
    in_atomic_block = False

    def __init__(self, is_plain: bool) -> None:
        self.settings_dict = {"AUTOCOMMIT": is_plain}

    def on_commit(self, *_: Any) -> None:
        raise TransactionManagementError


def test_a_commit_without_a_transaction_needs_no_database(
    client: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "get_connection", lambda _: NoDatabase(is_plain=False))
    with pytest.raises(TransactionManagementError):
        post(publishing)
    assert content(client, f"{folder}/photo") is None
    monkeypatch.setattr(transaction, "get_connection", lambda _: NoDatabase(is_plain=True))
    assert post(publishing).content == b"published"
    assert content(client, f"{folder}/photo") == data(10)


def test_a_commit_in_a_coroutine_is_refused_and_in_a_thread_of_django_s_it_publishes(client: Any, folder: str) -> None:
    async def commit(file: S3UploadedFile) -> Any:
        for refused in (file.commit, file.commit_now):
            with pytest.raises(SynchronousOnlyOperation, match="A commit waits for S3"):
                refused()
        return await sync_to_async(file.commit)()

    def committing(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        return HttpResponse(str(asyncio.run(commit(file)).size))

    assert post(committing).content == b"10"
    assert content(client, f"{folder}/photo") == data(10)


def test_a_closed_file_does_not_open_a_file_of_the_server_that_has_its_name(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        file.close()
        for mode in ("rb", None):
            with pytest.raises(io.UnsupportedOperation, match="can't be read"):
                file.open(mode)
        return HttpResponse("not read")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_text("the server's own")
    assert post(reading).content == b"not read"


@pytest.mark.parametrize(
    ("next_one", "error", "left"),
    [(refuse(403, "AccessDenied"), AccessDeniedError, 0), (unreachable, ConnectionFailedError, 1)],
    ids=["refused", "unreachable"],
)
def test_an_unknown_commit_stays_unknown_until_s3_refuses_the_next_one(
    client: Any, folder: str, store: Store, monkeypatch: pytest.MonkeyPatch, next_one: Any, error: Any, left: int
) -> None:
    def committing(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        wire = Wire(writing)
        wire.on("CompleteMultipartUpload", cut)
        with pytest.raises(OutcomeUnknownError):
            file.commit()
        wire.on("CompleteMultipartUpload", next_one)
        with pytest.raises(error):
            file.commit_now()
        return HttpResponse("not published")

    writing = store.client()
    monkeypatch.setattr(f"{__name__}.make_client", lambda: writing)
    assert post(committing).content == b"not published"
    assert (content(client, f"{folder}/photo"), len(uploads(client, f"{folder}/photo"))) == (None, left)
    Now.seen[0].pending.abort(client=client)


def as_body(handler: S3UploadHandler, body: bytes, length: int) -> Any:
    """What a parser makes of a body that is one file, such as that of Django REST framework."""
    assert handler.handle_raw_input(io.BytesIO(body), {}, length, None) is None
    with contextlib.suppress(StopFutureHandlers):
        handler.new_file(None, "photo.jpg", "image/jpeg", length, None)
    for start in range(0, len(body), handler.chunk_size):
        assert handler.receive_data_chunk(body[start : start + handler.chunk_size], start) is None
    return handler.file_complete(len(body))


@pytest.mark.parametrize("length", [0, 6 * MIB], ids=["unknown length", "known length"])
def test_a_body_that_is_one_file_is_published_whole(client: Any, folder: str, length: int) -> None:
    file = as_body(S3UploadHandler(None, key=lambda _: f"{folder}/body"), data(6 * MIB), length)
    file.commit()
    assert content(client, f"{folder}/body") == data(6 * MIB)


def test_a_body_that_is_one_file_and_was_cut_leaves_nothing(client: Any, folder: str) -> None:
    handler = S3UploadHandler(None, key=lambda _: f"{folder}/body")
    with pytest.raises(MultiPartParserError, match="ended after 6291456 of 7340032 bytes"):
        as_body(handler, data(6 * MIB), 7 * MIB)
    assert uploads(client, f"{folder}/body") == []


class Swallowing(FileUploadHandler):
    """Skips the first file after its first piece, and takes all others for itself."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self.field_name == "other":
            raise StopFutureHandlers

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        if self.field_name == "other":
            return None
        if start:
            raise SkipFile
        return raw_data

    def file_complete(self, _: int) -> None:
        return None


def test_a_file_that_another_handler_skips_is_not_taken_for_the_next_one(client: Any, folder: str) -> None:
    def looking(request: Any) -> HttpResponse:
        request.upload_handlers = [Swallowing(request), S3UploadHandler(request)]
        return HttpResponse(str(list(request.FILES)))

    assert post(looking, photo=photo(300_000), other=photo(10)).content == b"[]"
    assert uploads(client, f"{folder}/photo") == []


def test_a_parser_that_is_given_a_handler_of_no_request_is_refused(folder: str) -> None:
    request = RequestFactory().post("/upload", {"photo": photo()})
    parser = MultiPartParser(request.META, request, [S3UploadHandler(request)])
    with pytest.raises(ImproperlyConfigured, match="must be one of its request's upload_handlers"):
        parser.parse()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_file_is_the_same_file(client: Any, folder: str, copied: Any) -> None:
    def committing(request: Any) -> HttpResponse:
        copied(form_of(request).files["photo"]).commit()
        return HttpResponse("published")

    with TestCase.captureOnCommitCallbacks(execute=True), transaction.atomic():
        assert post(committing).content == b"published"
    assert content(client, f"{folder}/photo") == data(10)


def test_a_longer_transaction_that_is_rolled_back_removes_the_file(client: Any, folder: str) -> None:
    with pytest.raises(Boom), transaction.atomic():
        assert post(publishing).status_code == 200
        raise Boom
    gc.collect()
    join_aborts()
    assert Now.seen[0].closed
    assert (content(client, f"{folder}/photo"), uploads(client, f"{folder}/photo")) == (None, [])


def test_a_file_is_removed_from_the_store_that_has_it() -> None:
    own = {"bucket": BUCKET, "key": f"{__name__}.keep"}
    with override_settings(S3WRITER={"uploads": own}), pytest.raises(Boom), transaction.atomic():
        with MemoryS3(BUCKET) as memory:
            assert post(publishing).status_code == 200
        Now.seen = []
        assert len(memory.unfinished) == 1
        raise Boom
    gc.collect()
    join_aborts()
    assert (memory.objects, memory.unfinished) == ({}, [])


def test_a_detached_file_can_be_committed_after_the_request(client: Any, folder: str) -> None:
    def detaching(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        return HttpResponse(file.detach().to_json())

    message = post(detaching).content
    assert content(client, f"{folder}/photo") is None
    assert PendingUpload.from_json(message).commit(client=client).size == 10
    assert content(client, f"{folder}/photo") == data(10)


def test_a_commit_after_the_request_says_that_the_upload_was_aborted() -> None:
    post(lambda request: HttpResponse(str(form_of(request).is_valid())))
    (file,) = Now.seen
    with pytest.raises(AbortedError, match="was aborted"):
        file.commit_now()


@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: file.readline(),
        lambda file: next(file.chunks()),
        list,
        lambda file: file.seek(0),
        lambda file: file.tell(),
        lambda file: file.open(),
    ],
)
def test_reading_a_file_says_what_to_do_instead(read: Any) -> None:
    def reading(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        with pytest.raises(
            io.UnsupportedOperation, match=r"photo.jpg can't be read.*Call commit.*another upload handler"
        ):
            read(file)
        return HttpResponse("refused")

    assert post(reading).content == b"refused"


@pytest.mark.parametrize("size", [101, 6 * MIB])
def test_a_file_that_is_larger_than_the_limit_ends_the_request_and_leaves_nothing(
    client: Any, folder: str, size: int
) -> None:
    with settings_with(max_size=100):
        assert post(publishing, photo=photo(100)).status_code == 200
        assert post(publishing, photo=photo(100), other=photo(size)).status_code == 400
    assert content(client, f"{folder}/photo") == data(100)
    assert (content(client, f"{folder}/other"), uploads(client, f"{folder}/photo")) == (None, [])


def test_the_name_that_the_browser_gave_is_no_part_of_the_key() -> None:
    with settings_with(key=None):
        assert post(publishing, photo=photo(name="../etc/passwd.html")).status_code == 200
    (file,) = Now.seen
    assert file.key.removeprefix("uploads/") == str(uuid.UUID(file.key.rpartition("/")[2]))


def test_a_file_larger_than_the_limit_is_removed_after_its_upload_has_begun(memory: MemoryS3) -> None:
    own = {"bucket": BUCKET, "key": f"{__name__}.keep", "max_size": 6 * MIB}
    with override_settings(S3WRITER={"uploads": own}):
        assert post(publishing, photo=photo(12 * MIB)).status_code == 400
    assert "CreateMultipartUpload" in memory.calls
    assert (memory.objects, memory.unfinished, Now.seen) == ({}, [], [])


def test_s3_s_arguments_may_depend_on_the_file(client: Any, folder: str) -> None:
    with settings_with(arguments=f"{__name__}.described", Metadata={"from": "a form"}):
        post(publishing, other=photo())
    head = client.head_object(Bucket=BUCKET, Key=f"{folder}/photo")
    assert (head["ContentType"], head["Metadata"]["from"]) == ("image/png", "a form")
    head = client.head_object(Bucket=BUCKET, Key=f"{folder}/other")
    assert (head["ContentType"], head["Metadata"]["from"]) == ("application/octet-stream", "a form")


def described(handler: Any) -> dict[str, Any] | None:
    return {"ContentType": "image/png"} if handler.field_name == "photo" else None


def test_a_customer_s_key_is_given_to_the_commit_too(client: Any, folder: str) -> None:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    with settings_with(**key):
        assert post(publishing, photo=photo(6 * MIB)).status_code == 200
    assert client.get_object(Bucket=BUCKET, Key=f"{folder}/photo", **key)["ContentLength"] == 6 * MIB


def test_a_view_may_have_a_handler_of_its_own_with_options_of_its_own(client: Any, folder: str) -> None:
    def own(request: Any) -> HttpResponse:
        request.upload_handlers = [S3UploadHandler(request, prefix=f"{folder}/own/", key=None)]
        return publishing(request)

    with override_settings(FILE_UPLOAD_HANDLERS=["django.core.files.uploadhandler.MemoryFileUploadHandler"]):
        assert post(own).status_code == 200
    (file,) = Now.seen
    assert file.key.startswith(f"{folder}/own/")
    assert content(client, file.key) == data(10)


def test_a_file_without_a_key_is_left_to_the_next_handler(client: Any, folder: str) -> None:
    def both(request: Any) -> HttpResponse:
        request.upload_handlers = [
            S3UploadHandler(request, key=lambda handler: keep(handler) if handler.field_name == "photo" else None),
            MemoryFileUploadHandler(request),
        ]
        files = request.FILES
        return HttpResponse(files["photo"].commit().key.encode() + files["other"].read())

    assert post(both, other=photo(5)).content == f"{folder}/photo".encode() + data(5)


def bucket_of(handler: Any) -> str:
    return f"bucket-of-{handler.field_name}"


def test_a_function_may_choose_the_bucket(folder: str) -> None:
    own = {"bucket": bucket_of, "key": f"{__name__}.keep"}
    with MemoryS3("bucket-of-photo") as memory, override_settings(S3WRITER={"uploads": own}):
        assert post(publishing).status_code == 200
    assert memory.objects == {f"s3://bucket-of-photo/{folder}/photo": data(10)}


def test_a_body_that_is_no_form_is_not_parsed() -> None:
    assert S3UploadHandler(None).handle_raw_input(io.BytesIO(b"raw"), {}, 3, None) is None


class Stopping(FileUploadHandler):
    """Raises what it was made with at the second piece of a file."""

    def __init__(self, request: Any, error: Exception) -> None:
        super().__init__(request)
        self.error = error

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        if start:
            raise self.error
        return raw_data

    def file_complete(self, _: int) -> None:
        return None


@pytest.mark.parametrize(
    "error", [SkipFile(), StopUpload(connection_reset=True), StopUpload(connection_reset=False)], ids=repr
)
def test_a_file_that_another_handler_gives_up_is_not_published(client: Any, folder: str, error: Exception) -> None:
    def stopped(request: Any) -> HttpResponse:
        request.upload_handlers = [Stopping(request, error), S3UploadHandler(request)]
        return HttpResponse(",".join(request.FILES))

    assert post(stopped, photo=photo(10), other=photo(7 * MIB)).content == b"photo"
    assert uploads(client, f"{folder}/photo") == uploads(client, f"{folder}/other") == []


def test_a_second_handler_takes_what_the_first_one_leaves(client: Any, folder: str) -> None:
    def two(request: Any) -> HttpResponse:
        request.upload_handlers = [S3UploadHandler(request, key=lambda _: None), S3UploadHandler(request)]
        return publishing(request)

    assert post(two).status_code == 200
    assert content(client, f"{folder}/photo") == data(10)


@pytest.fixture
def memory() -> Iterator[MemoryS3]:
    """A store that fails on demand, for uploads that have no client of their own."""
    own = {"bucket": BUCKET, "key": f"{__name__}.keep"}
    with MemoryS3(BUCKET) as memory, override_settings(S3WRITER={"uploads": own}):
        yield memory


def test_what_s3_refuses_is_the_error_of_the_request(memory: MemoryS3) -> None:
    memory.refuse("UploadPart", "AccessDenied")
    with pytest.raises(AccessDeniedError):
        post(publishing, photo=photo(6 * MIB))
    assert (memory.objects, memory.unfinished) == ({}, [])


def test_an_upload_that_can_not_be_removed_is_named_in_the_log(memory: MemoryS3, folder: str) -> None:
    memory.refuse("AbortMultipartUpload", "AccessDenied")
    with logged() as messages:
        assert post(publishing, title="much too long").status_code == 422
    assert memory.unfinished == [f"s3://{BUCKET}/{folder}/photo"]
    (message,) = [message for message in messages if "could not be aborted" in message]
    assert f"upload {Now.seen[0].pending.upload_id} of s3://{BUCKET}/{folder}/photo" in message


def test_a_commit_that_s3_refuses_can_be_tried_again_until_the_end_of_the_request(memory: MemoryS3) -> None:
    def trying(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        memory.refuse("CompleteMultipartUpload", "AccessDenied", nth=1)
        with pytest.raises(AccessDeniedError):
            file.commit_now()
        return HttpResponse(file.commit_now().size)

    assert post(trying).content == b"10"


def test_a_refused_commit_leaves_nothing_at_the_end_of_the_request(memory: MemoryS3) -> None:
    memory.refuse("CompleteMultipartUpload", "AccessDenied")
    with pytest.raises(AccessDeniedError):
        post(publishing)
    assert (memory.objects, memory.unfinished) == ({}, [])


def test_an_upload_is_left_alone_if_nobody_knows_whether_its_commit_has_come(memory: MemoryS3, folder: str) -> None:
    def trying(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        with pytest.raises(OutcomeUnknownError) as caught, transaction.atomic():
            file.commit()
        assert "safe to commit it again" in str(caught.value.__notes__)
        return HttpResponse(caught.value.upload_id)

    memory.cut("CompleteMultipartUpload", nth=1)
    upload_id = post(trying).content.decode()
    assert memory.unfinished == [f"s3://{BUCKET}/{folder}/photo"]
    (file,) = Now.seen
    assert file.pending.upload_id == upload_id
    assert file.commit_now() == file.result
    assert memory.objects == {f"s3://{BUCKET}/{folder}/photo": data(10)}


def test_a_lost_commit_can_be_settled_in_the_same_request(memory: MemoryS3) -> None:
    def trying(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        memory.cut("CompleteMultipartUpload", nth=1)
        with pytest.raises(OutcomeUnknownError):
            file.commit()
        return HttpResponse(file.commit_now().size)

    assert post(trying).content == b"10"
    assert memory.unfinished == []


def test_a_file_that_is_refused_twice_leaves_nothing_twice(memory: MemoryS3) -> None:
    def trying(request: Any) -> HttpResponse:
        assert len(request.body) > 100
        for _ in range(2):
            with pytest.raises(RequestDataTooBig):
                _ = request.FILES
            assert memory.unfinished == []
        return HttpResponse("2")

    # In this memory, no third part is begun before S3 has one: the upload has begun when the file is refused.
    own = {"bucket": BUCKET, "max_size": 11 * MIB, "max_memory": 10 * MIB}
    with override_settings(S3WRITER={"uploads": own}, DATA_UPLOAD_MAX_MEMORY_SIZE=None):
        assert post(trying, photo=photo(12 * MIB)).content == b"2"
    assert memory.calls.count("CreateMultipartUpload") == 2


def received(size: int, **options: Any) -> S3UploadedFile:
    """A file that has come, without a request."""
    handler = S3UploadHandler(None, bucket=BUCKET, **options)
    with pytest.raises(StopFutureHandlers):
        handler.new_file("photo", "a.jpg", "image/jpeg", None)
    handler.receive_data_chunk(data(size), 0)
    file = handler.file_complete(size)
    assert file is not None
    return file


def test_a_file_whose_removal_was_interrupted_is_removed_at_exit(store: Store) -> None:
    client = store.client()
    file = received(10, client=client, key=None)
    Wire(client).on("ListParts", interrupt, nth=1)
    with pytest.raises(KeyboardInterrupt):
        file.close()
    assert len(uploads(client, file.key)) == 1
    assert file._prepared in at_exit._left()
    assert file._prepared.is_alive
    Wire(client).on("ListParts", interrupt, nth=1)
    with logged() as messages, pytest.raises(KeyboardInterrupt):
        file._prepared.end_at_exit(has_time=True)
    assert [message.rpartition(": ")[2] for message in messages] == ["aborting was interrupted"]
    file._prepared.end_at_exit(has_time=True)
    assert not file._prepared.is_alive
    assert uploads(client, file.key) == []


@pytest.mark.parametrize(("options", "most"), [({}, 32 * MIB), ({"max_memory": 16 * MIB}, 16 * MIB)])
def test_one_upload_takes_less_memory_than_a_writer_by_default(
    memory: MemoryS3, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], most: int
) -> None:
    made = []

    def write(*place: str, **given: Any) -> MultipartUploadWriter:
        made.append(given["max_memory"])
        return MultipartUploadWriter(*place, **given)

    monkeypatch.setattr("s3writer.django.uploads.MultipartUploadWriter", write)
    received(10, **options).commit_now()
    assert (made, len(memory.objects)) == ([most], 1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({}, "needs a bucket"),
        ({"uploads": "my-bucket"}, "must be a dict, not str"),
        ({"uploads": {"bucket": BUCKET, "progress": print}}, r"S3WRITER\['uploads'\] can't have progress"),
        ({"uploads": {"bucket": BUCKET, "client": print}}, r"S3WRITER\['uploads'\]\['client'\] must be the dotted"),
    ],
)
def test_a_wrong_setting_is_named(setting: dict[str, Any], message: str) -> None:
    with override_settings(S3WRITER=setting), pytest.raises(ImproperlyConfigured, match=message):
        post(publishing)


def test_what_the_handler_decides_itself_is_refused_as_its_option() -> None:
    with pytest.raises(TypeError, match="S3UploadHandler can't have compression, on_error: s3writer sets that"):
        S3UploadHandler(None, bucket="bucket", on_error="keep", compression="gzip")


def test_what_the_handler_decides_itself_is_refused_for_one_file_too() -> None:
    own = settings_with(arguments=lambda _: {"encoding": "utf-8"})
    with own, pytest.raises(TypeError, match="S3UploadHandler can't have encoding: s3writer sets that"):
        post(publishing)


def test_dumps_do_not_get_the_options_of_uploads() -> None:
    with override_settings(S3WRITER={"max_concurrency": 2, "uploads": {"bucket": BUCKET, "max_concurrency": 3}}):
        assert writer_options() == {"max_concurrency": 2}
        assert S3UploadHandler(None).options["max_concurrency"] == 3


def body_of(*files: bytes, boundary: bytes = b"edge") -> bytes:
    """A form as it travels: a title, and two files."""
    pieces = [b'Content-Disposition: form-data; name="title"\r\n\r\nshort\r\n']
    for name, file in zip((b"photo", b"other"), files, strict=False):
        pieces.append(b'Content-Disposition: form-data; name="%s"; filename="a"\r\n\r\n%s\r\n' % (name, file))
    return b"".join(b"--" + boundary + b"\r\n" + piece for piece in pieces) + b"--" + boundary + b"--\r\n"


FORM = "multipart/form-data; boundary=edge"


def test_a_body_that_was_read_before_is_parsed_from_memory(client: Any, folder: str) -> None:
    def read_before(request: Any) -> HttpResponse:
        assert len(request.body) > 100
        return publishing(request)

    assert post(read_before, photo=photo(100)).status_code == 200
    assert content(client, f"{folder}/photo") == data(100)


def test_a_file_whose_encoding_is_broken_leaves_nothing(client: Any, folder: str) -> None:
    Now.view = staticmethod(publishing)
    whole = body_of(b"x").replace(b'filename="a"', b'filename="a"\r\nContent-Transfer-Encoding: base64')
    answer = Client().generic("POST", "/upload", whole.replace(b"x\r\n", b"?\r\n"), FORM)
    assert answer.status_code == 400
    assert uploads(client, f"{folder}/photo") == []


def test_a_form_without_its_end_has_no_file(client: Any, folder: str) -> None:
    Now.view = staticmethod(publishing)
    answer = Client().generic("POST", "/upload", body_of(data(6 * MIB))[: -MIB // 2], FORM)
    assert (answer.status_code, Now.seen) == (422, [])
    assert uploads(client, f"{folder}/photo") == []


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served() -> Iterator[int]:
    """The project behind a real server; yields its port."""
    server = make_server("127.0.0.1", 0, WSGIHandler(), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def head_of(path: str, length: int) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: here", f"Content-Type: {FORM}", f"Content-Length: {length}")
    return "\r\n".join((*lines, "Connection: close", "", "")).encode()


def send(port: int, pieces: Iterator[bytes]) -> bytes:
    """Send the pieces, say that no more come, and return the whole answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while received := connection.recv(65536):
            answer += received
        return answer


@pytest.mark.parametrize("place", ["in the first file", "in the second file", "after the files"])
def test_a_client_that_goes_away_publishes_nothing_and_leaves_nothing(client: Any, folder: str, place: str) -> None:
    called = []

    def committing(request: Any) -> HttpResponse:
        called.append([file.commit_now() for file in form_of(request).files.values()])
        return HttpResponse("published")

    Now.view = staticmethod(committing)
    whole = body_of(data(6 * MIB), data(6 * MIB))
    sent = {"in the first file": 6 * MIB - 100, "in the second file": 12 * MIB, "after the files": len(whole) - 2}[
        place
    ]
    with served() as port:
        answer = send(port, iter([head_of("/upload", len(whole)), whole[:sent]]))
        assert b" 400 Bad Request" in answer.splitlines()[0]
        assert send(port, iter([head_of("/upload", len(whole)), whole])).startswith(b"HTTP/1.1 200")
    assert [len(results) for results in called] == [2]
    assert uploads(client, f"{folder}/photo") == uploads(client, f"{folder}/other") == []


def test_a_large_file_passes_in_bounded_memory_and_touches_no_disk(
    client: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was made")

    for name in ("NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile"):
        monkeypatch.setattr(f"tempfile.{name}", refuse)
    monkeypatch.setattr("django.core.files.temp.NamedTemporaryFile", refuse)
    Now.view = staticmethod(publishing)
    size, piece = 64 * MIB, data(MIB)
    begin, end = body_of(b"here").split(b"here")
    with served() as port, settings_with(max_memory=16 * MIB):
        short = body_of(b"loads what any upload takes")
        assert send(port, iter([head_of("/upload", len(short)), short])).startswith(b"HTTP/1.1 200")
        tracemalloc.start()
        try:
            pieces = (head_of("/upload", len(begin) + size + len(end)), begin, *[piece] * 64, end)
            assert send(port, iter(pieces)).startswith(b"HTTP/1.1 200")
            assert tracemalloc.get_traced_memory()[1] < 24 * MIB
        finally:
            tracemalloc.stop()
    assert content(client, f"{folder}/photo") == piece * 64


async def over_asgi(path: str, body: bytes, leaves: Any = None) -> list[dict[str, Any]]:
    """What the project answers to a form over ASGI. The client goes away once ``leaves`` is set."""
    sent: list[dict[str, Any]] = []
    events = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        if events:
            return events.pop()
        while leaves is None or not leaves.is_set():
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def respond(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", FORM.encode()), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    await ASGIHandler()(scope, receive, respond)
    return sent


def test_a_file_is_published_under_asgi_too(client: Any, folder: str) -> None:
    Now.view = staticmethod(publishing)
    answer = asyncio.run(over_asgi("/upload", body_of(data(6 * MIB))))
    assert answer[0]["status"] == 200
    assert content(client, f"{folder}/photo") == data(6 * MIB)


def test_an_uncommitted_file_is_removed_under_asgi_too(client: Any, folder: str) -> None:
    Now.view = staticmethod(lambda request: HttpResponse(len(form_of(request).files)))
    answer = asyncio.run(over_asgi("/upload", body_of(data(6 * MIB))))
    assert answer[0]["status"] == 200
    assert (content(client, f"{folder}/photo"), uploads(client, f"{folder}/photo")) == (None, [])


def test_a_request_that_asgi_drops_leaves_nothing_once_it_is_collected(client: Any, folder: str) -> None:
    Now.has_come = threading.Event()
    assert asyncio.run(over_asgi("/dropped", body_of(data(6 * MIB)), Now.has_come)) == []
    Now.seen = []
    gc.collect()
    join_aborts()
    assert (content(client, f"{folder}/photo"), uploads(client, f"{folder}/photo")) == (None, [])


def test_a_forked_child_leaves_its_parent_s_file_alone(
    client: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forking(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        with monkeypatch.context() as child:
            child.setattr("os.getpid", lambda: 1)
            file.close()
        return HttpResponse(len(uploads(client, file.key)))

    assert post(forking).content == b"1"
    assert uploads(client, f"{folder}/photo") == []


AT_EXIT = """
import atexit, sys
atexit.register(lambda: print(memory.unfinished, memory.objects))
from django.conf import settings
settings.configure(S3WRITER={"uploads": {"bucket": "b"}})
from s3writer.testing import MemoryS3
from s3writer._upload import at_exit
from s3writer._upload.jobs import Job
from s3writer.django.uploads import S3UploadHandler
from django.core.files.uploadhandler import StopFutureHandlers
memory = MemoryS3("b").__enter__()
handler = S3UploadHandler(None)
try:
    handler.new_file("photo", "a", "image/png", None)
except StopFutureHandlers:
    handler.receive_data_chunk(b"x" * 100, 0)
file = handler.file_complete(100)
print(len(memory.unfinished), flush=True)
"""


def test_a_file_that_nobody_has_committed_is_removed_at_exit() -> None:
    ended = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("1\n[] {}\n", "")


def test_a_file_that_could_get_no_thread_for_its_removal_is_removed_at_exit(
    client: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dropping(request: Any) -> HttpResponse:
        (file,) = form_of(request).files.values()
        with monkeypatch.context() as busy:
            busy.setattr(Job, "start", lambda *_, **__: False)
            file._prepared.__del__()
        return HttpResponse("dropped")

    monkeypatch.setattr(S3UploadedFile, "close", lambda _: None)
    assert post(dropping).content == b"dropped"
    assert len(uploads(client, f"{folder}/photo")) == 1
    orphan = at_exit._orphans.pop()
    with logged() as messages:
        orphan.end_at_exit(has_time=False)
    (file,) = Now.seen
    (message,) = messages
    assert message == (
        f"upload {file.pending.upload_id} of s3://{BUCKET}/{file.key} could not be aborted, "
        "S3 stores and bills its parts until it is: there was no time left for it"
    )
    orphan.end_at_exit(has_time=True)
    orphan.end_at_exit(has_time=False)
    assert uploads(client, f"{folder}/photo") == []


@pytest.mark.parametrize("module", ["s3writer.django.uploads", "s3writer.django.storage", "s3writer.django"])
@pytest.mark.traces_processes
def test_without_django_the_error_says_what_to_install(module: str) -> None:
    code = f"import sys; sys.modules['django'] = None; import {module}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "s3writer.django needs Django: pip install 's3writer[django]'" in ended.stderr.splitlines()[-1]
