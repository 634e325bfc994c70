"""Checks the settings of a writer, and makes an upload with them."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from s3writer._s3 import client as clients
from s3writer._s3.arguments import Arguments, check_address, refuse_dot_segments
from s3writer._s3.calls import Calls
from s3writer._s3.proof import proof_for
from s3writer._upload.plan import MAX_OBJECT_BYTES, OBJECT_LIMITS, check_limits, make_plan
from s3writer._upload.upload import Upload


def new_upload(
    bucket: str,
    key: str,
    *,
    client: Any,
    part_size: int,
    max_concurrency: int,
    max_memory: int | None,
    checksum: str | None,
    exclusive: bool,
    expected_size: int | None,
    exact_size: int | None,
    equal_parts: bool,
    progress: Callable[[int], object] | None,
    on_error: str,
    commit_token: bool,
    allow_dot_segments: bool,
    s3_arguments: Mapping[str, Any],
    own_names: frozenset[str],
) -> Upload:
    """An upload with these settings of a `MultipartUploadWriter`. TypeError or ValueError names an impossible setting.

    ``own_names`` are the writer's parameters: an error about an unknown name suggests one of them.
    """
    check_address(bucket, key)
    if not allow_dot_segments:
        refuse_dot_segments(key)
    if exact_size is not None:
        check_limits("exact_size", exact_size, 0, MAX_OBJECT_BYTES, OBJECT_LIMITS)
        if expected_size not in (None, exact_size):
            raise ValueError(f"expected_size={expected_size} and exact_size={exact_size} differ: give one of them")
    plan = make_plan(
        part_size=part_size,
        max_concurrency=max_concurrency,
        max_memory=max_memory,
        expected_size=expected_size if exact_size is None else exact_size,
        equal_parts=equal_parts,
    )
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable, not {type(progress).__name__}")
    if on_error not in ("abort", "keep"):
        raise ValueError(f"on_error={on_error!r} is neither 'abort' nor 'keep'")
    s3 = clients.chosen(client)
    calls = Calls(
        s3,
        bucket,
        key,
        Arguments(s3.meta.service_model, s3_arguments, own_names),
        proof_for(checksum, s3, is_ours=client is None),
        exclusive=exclusive,
        token=os.urandom(16).hex() if commit_token else None,
    )
    return Upload(calls, plan, keeps=on_error == "keep", progress=progress)
