"""Writes to S3 from coroutines, without blocking their event loop.

```python
async with s3writer.aio.open("s3://bucket/video.mp4", "wb", exact_size=length) as stream:
    async for chunk in response.content.iter_any():
        await stream.write(chunk)
print(stream.result)
```

If the block raises, or the task is cancelled, nothing is published. It needs ``asyncio``, and no further package.
"""

from s3writer.aio.opening import Opening, open, wrap
from s3writer.aio.writer import AsyncTextWriter, AsyncWriter

__all__ = ["AsyncTextWriter", "AsyncWriter", "Opening", "open", "wrap"]

for _name in __all__:
    globals()[_name].__module__ = __name__
