"""Writes one object from many machines. Each machine writes a segment; one, the driver, publishes all in order.

```python
with Client(scheduler).get_executor() as pool:  # Dask; or ProcessPoolExecutor()
    result = write_segments("bucket", "backups/events.jsonl", producers, executor=pool)
```

`write_segments` does all that with any ``concurrent.futures.Executor``. If your engine has none, use the pieces: the
driver begins a `SegmentedUpload`, each worker's `SegmentWriter` has a `SegmentReceipt` at its end, and the driver
commits with all of them.
"""

from s3writer.segments.driver import write_segments
from s3writer.segments.segment import Segment, SegmentReceipt
from s3writer.segments.upload import SegmentedUpload
from s3writer.segments.writer import CompressingSegmentWriter, SegmentWriter

__all__ = [
    "CompressingSegmentWriter",
    "Segment",
    "SegmentReceipt",
    "SegmentWriter",
    "SegmentedUpload",
    "write_segments",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
