"""The store is that of `tests/test_fsspec.py`; its address is in the environment variable S3W_ENDPOINT."""

import gc
import os
from collections.abc import Iterator
from typing import Any

import boto3
import fsspec
import pytest

OPTIONS = {"key": "test-key-id", "secret": "test-secret-key", "endpoint_url": os.environ["S3W_ENDPOINT"]}
BUCKET = "s3w-bucket"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Collect what the last test had: its files may warn when they go, and the next test counts warnings."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def client() -> Any:
    return boto3.client(
        "s3",
        endpoint_url=OPTIONS["endpoint_url"],
        aws_access_key_id=OPTIONS["key"],
        aws_secret_access_key=OPTIONS["secret"],
        region_name="us-east-1",
    )


@pytest.fixture
def bucket(client: Any) -> Iterator[str]:
    """An empty bucket, in which a test may leave objects, but no unfinished upload."""
    client.create_bucket(Bucket=BUCKET)
    yield BUCKET
    assert client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=found["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def fs(bucket: str) -> Any:
    """The file system that fsspec makes of these options, and remembers."""
    remembered = fsspec.filesystem("s3w", **OPTIONS)
    remembered.invalidate_cache()
    return remembered
