"""django-storages' own tests for S3, on s3writer's storage: `make test-storages`.

pip downloads the sources of the installed version. Most of their tests replace the connection with a mock, and ask the
mock what boto3's ``upload_fileobj`` was given. s3writer calls PutObject instead. So a store in memory answers each
PutObject, and the mock gets the same arguments as if ``upload_fileobj`` had been called.

If other tests fail than those in `DIFFERENT`, the command prints them and exits with 1.
"""

import importlib
import io
import os
import shutil
import subprocess
import sys
import unittest
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django
import moto
from storages.backends import s3

import tests
from s3writer.testing import MemoryS3

#: The classes that s3writer's replace.
CLASSES = ("S3Storage", "S3StaticStorage", "S3ManifestStaticStorage")

#: Arguments of PutObject that s3writer adds, or that ``upload_fileobj`` does not take in ``ExtraArgs``.
APART = {"Bucket", "Key", "Body", "Metadata"}

#: The tests that fail, and why.
DIFFERENT = {
    "S3StorageTests.test_storage_open_write": "a small file is one PutObject, not a multipart upload",
    "S3StorageTests.test_storage_open_no_write": "an empty file is published without a look at what is there",
    "S3StorageTests.test_storage_open_no_overwrite_existing": "an empty file replaces the object that is there",
    "S3StorageTests.test_storage_write_beyond_buffer_size": "parts go through the client, and there is no buffer_size",
    "S3StorageTests.test_storage_url_custom_domain_signed_urls": "needs the package rsa; fails without s3writer, too",
}


def download(folder: Path) -> Path:
    """The sources of the installed django-storages, tests among them."""
    name = f"django-storages=={version('django-storages')}"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "django-storages"]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), name], check=True)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def their_tests(sources: Path) -> Any:
    """Their module of tests, which finds s3writer's classes."""
    tests.__path__.insert(0, str(sources / "tests"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "AWS_DEFAULT_REGION": "us-east-1"}
    django.setup()
    ours = importlib.import_module("s3writer.django.storage")
    for name in CLASSES:
        setattr(s3, name, getattr(ours, name))
    vars(moto)["mock_s3"] = moto.mock_aws  # its name before moto 5
    return importlib.import_module("tests.test_s3")


def connect(storage: Any, memory: MemoryS3) -> None:
    """Let the mock of a client write to ``memory``. Each PutObject also calls the mock of ``upload_fileobj``."""
    connection = storage.connection  # another thread would get a connection of its own
    client = connection.meta.client

    def put_object(**given: Any) -> Any:
        answer = memory.client.put_object(**given)
        body = memory.objects[f"s3://{given['Bucket']}/{given['Key']}"]
        arguments = {
            name: value for name, value in given.items() if name not in APART and not name.startswith("Checksum")
        }
        told = connection.Bucket(given["Bucket"]).Object(given["Key"])  # a mock
        told.upload_fileobj(io.BytesIO(body), ExtraArgs=arguments, Config=storage.transfer_config)
        return answer

    client.meta = memory.client.meta
    client.put_object = put_object


def connected(case: Any, memory: MemoryS3) -> Any:
    """The ``setUp`` of a class of tests, whose storage is then connected."""
    original = case.setUp

    def set_up(test: Any) -> None:
        original(test)
        connect(test.storage, memory)

    return set_up


def failing(module: Any) -> tuple[int, dict[str, str]]:
    """How many tests there are, and the traceback of each that fails."""
    memory = MemoryS3("test-bucket")
    for name in ("S3StorageTests", "S3StaticStorageTests", "S3ManifestStaticStorageTests", "S3FileTests"):
        case = getattr(module, name)
        case.setUp = connected(case, memory)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    failed = {}
    for test, traceback in [*result.failures, *result.errors]:
        whole = getattr(test, "test_case", test)  # a failing subtest names its test
        failed[whole.id().removeprefix(f"{module.__name__}.")] = traceback
    return result.testsRun, failed


def main() -> None:
    with TemporaryDirectory() as folder:
        count, failed = failing(their_tests(download(Path(folder))))
    wrong = [f"{name} fails:\n{failed[name]}" for name in sorted(failed.keys() - DIFFERENT.keys())]
    wrong += [f"{name} no longer fails: {DIFFERENT[name]}" for name in sorted(DIFFERENT.keys() - failed.keys())]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{count} tests of django-storages {version('django-storages')}: {len(failed)} fail, as expected")


if __name__ == "__main__":
    main()
