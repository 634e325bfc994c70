"""The default client: one for each process, tuned for uploads. Writers without a client of their own use it."""

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from s3writer._fork import in_each_child
from s3writer._s3.body import send_at_once

CONFIG: dict[str, Any] = {
    "max_pool_connections": 64,
    "tcp_keepalive": True,
    "retries": {"mode": "standard", "total_max_attempts": 5},
    "request_checksum_calculation": "when_required",
    "s3": {"payload_signing_enabled": False},
}

_lock = threading.RLock()
_made: dict[Any, Any] = {}
#: The clients that the latest recipes have made. Only the latest: an unpickled lambda is a new recipe each time.
_remembered: dict[Any, Any] = {}
_MOST_REMEMBERED = 8
_inherited: list[Any] = []


def chosen(client: Any) -> Any:
    """``client`` if it is one for S3, the default client for None; else TypeError."""
    if client is None:
        return default_client()
    meta = getattr(client, "meta", None)
    is_async = any(kind.__module__.startswith("aiobotocore.") for kind in type(client).__mro__)
    if is_async or getattr(getattr(meta, "service_model", None), "service_name", None) != "s3":
        kind = f"{'an aiobotocore client' if is_async else type(client).__name__}"
        hint = "pass its meta.client" if hasattr(meta, "client") else 'make one with boto3.client("s3")'
        raise TypeError(f"client must be a boto3 S3 client, not {kind}: {hint}")
    return client


def default_client(endpoint_url: str | None = None) -> Any:
    """boto3's S3 client from the environment, made once and shared by all threads; a forked child makes its own.

    Other than with ``boto3.client("s3")``:

    - The signature does not hash the body with SHA-256: TLS and the checksum of each part protect it.
    - botocore adds no checksum beside the writer's.
    - 64 connections serve many writers, and are kept alive.
    - Retries are ``standard``, with five attempts.
    - Small objects, and parts once S3 has taken one of their upload, are sent without asking first.

    The first call may name an endpoint, to be used instead of the environment's.
    """
    import boto3

    with _lock:
        if boto3.DEFAULT_SESSION is None:
            boto3.setup_default_session()
        session = boto3.DEFAULT_SESSION
        if session not in _made:
            _made.clear()
            _made[session] = tuned(session, {}, endpoint_url=endpoint_url)
        return _made[session]


def tuned(session: Any, config: Mapping[str, Any], **arguments: Any) -> Any:
    """An S3 client of ``session`` that is like the default client. ``config`` are settings of botocore's Config that
    replace the default client's, ``arguments`` those of boto3's ``Session.client``.
    """
    from botocore.config import Config

    settings = {**CONFIG, **config, "s3": {**CONFIG["s3"], **(config.get("s3") or {})}}
    client = session.client("s3", config=Config(**settings), **arguments)
    client.meta.events.register("request-created.s3", send_at_once)
    return client


def client_of(recipe: Callable[[], Any] | None) -> Any:
    """The client that ``recipe`` makes; called once in each process if it can be hashed. None for None. ValueError if
    it returns the parent's client in a forked child: two processes can't share connections.
    """
    if recipe is None:
        return None
    key: Any = recipe
    if isinstance(recipe, functools.partial):
        key = recipe.func, recipe.args, tuple(recipe.keywords.items())
    with _lock:
        try:
            return _remembered[key]
        except (KeyError, TypeError):
            client = recipe()
        if any(client is inherited for inherited in _inherited):
            raise ValueError("client must make a new client in a forked process: let it not remember what it has made")
        if len(_remembered) == _MOST_REMEMBERED:
            del _remembered[next(iter(_remembered))]
        with contextlib.suppress(TypeError):
            _remembered[key] = client
        return client


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _inherited.extend(_remembered.values())
    _made.clear()
    _remembered.clear()


in_each_child(_after_fork)
