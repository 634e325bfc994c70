"""A file system for fsspec: reads are s3fs's, and each file that is written is published whole or not at all.

```python
df.to_parquet("s3w://bucket/table.parquet", storage_options={"writer": {"max_memory": 256 * 1024**2}})

with fsspec.filesystem("s3w").transaction:  # both files or none
    df.to_csv("s3w://bucket/rows.csv")
    summary.to_csv("s3w://bucket/summary.csv")
```

fsspec finds it by the protocol ``s3w``. It needs s3fs.
"""

try:
    from s3writer.fsspec.file_system import S3WriterFileSystem
except ImportError as error:
    raise ImportError(f"{error}; s3w:// needs s3fs: pip install 's3writer[fsspec]'") from error
from s3writer.fsspec.files import DeferredFile, PublishedFile

__all__ = ["DeferredFile", "PublishedFile", "S3WriterFileSystem"]

for _name in __all__:
    globals()[_name].__module__ = __name__
