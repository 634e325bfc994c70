"""S3 in memory, for tests of code that writes with a writer: no network, no credentials, and faults on demand.

```python
def test_the_export_is_published_whole():
    with MemoryS3("my-bucket") as s3:
        export()
    assert s3.objects["s3://my-bucket/rows.csv"] == b"1,2"


def test_an_export_that_may_not_write_leaves_nothing():
    with MemoryS3("my-bucket") as s3:
        s3.refuse("UploadPart", "AccessDenied", nth=2)
        with pytest.raises(AccessDeniedError):
            export()
    assert not s3.objects and not s3.unfinished
```

With pytest you need no ``with``: the fixture ``memory_s3`` is there as soon as s3writer is installed. A marker names
its buckets:

```python
@pytest.mark.memory_s3("my-bucket")
def test_the_export_is_published_whole(memory_s3):
    export()
    assert memory_s3.objects["s3://my-bucket/rows.csv"] == b"1,2"
```

It answers botocore in place of the network, so all that is said over the wire is said here too: requests are built and
signed, answers parsed, errors translated. As S3 does, it refuses parts below 5 MiB, wrong checksums and sizes,
conditions that don't hold, and missing keys of SSE-C. Calls and parameters that it does not know are refused with
``NotImplemented``. What only a bucket could judge (storage classes, encryption, tags, ACLs, locks) is taken as it
comes: for that, for policies, versions, retries and slow networks use moto or a real server. It lives in its process: a
forked child writes into a copy of its own, a spawned one to the network.
"""

from s3writer.testing.memory_s3 import MemoryS3

__all__ = ["MemoryS3"]

MemoryS3.__module__ = __name__
