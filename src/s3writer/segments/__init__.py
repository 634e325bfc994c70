"""One object from many machines: each writes a segment, and one of them, the driver, publishes them all, in order.

```python
with Client(scheduler).get_executor() as pool:  # Dask; or ProcessPoolExecutor()
    result = write_segments("bucket", "backups/events.jsonl", producers, executor=pool)
```

`write_segments` does all of it on any ``concurrent.futures.Executor``. For engines without one, the pieces are here:
`SegmentedUpload` for the driver, `SegmentWriter` for the workers, `SegmentReceipt` for the way back.
"""

from s3writer.segments.driver import write_segments
from s3writer.segments.segment import CompressingSegmentWriter, Segment, SegmentReceipt, SegmentWriter
from s3writer.segments.upload import SegmentedUpload

__all__ = [
    "CompressingSegmentWriter",
    "Segment",
    "SegmentReceipt",
    "SegmentWriter",
    "SegmentedUpload",
    "write_segments",
]
