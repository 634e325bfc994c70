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

With pytest you need no ``with``: it has the fixture ``memory_s3`` as soon as s3writer is installed. A marker names
the buckets:

```python
@pytest.mark.memory_s3("my-bucket")
def test_the_export_is_published_whole(memory_s3):
    export()
    assert memory_s3.objects["s3://my-bucket/rows.csv"] == b"1,2"
```

`MemoryS3` answers botocore in place of the network. So botocore builds and signs each request, parses each answer and
translates each error, as over the wire. As S3 does, `MemoryS3` refuses parts below 5 MiB, wrong checksums and sizes,
conditions that don't hold, and missing keys of SSE-C. It refuses calls and parameters that it does not know with
``NotImplemented``. It does not check what only a bucket can judge: storage classes, encryption, tags, ACLs, locks. To
test these, or policies, versions, retries and slow networks, use moto or a real server. The objects live in one
process: a forked child writes into a copy of its own, and a spawned child to the network.
"""

from s3writer.testing.memory_s3 import MemoryS3

__all__ = ["MemoryS3"]

MemoryS3.__module__ = __name__
