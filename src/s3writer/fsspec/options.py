"""What the writers of a file system get: its own options, those of s3fs, and a boto3 client that is made from these."""

from functools import partial
from typing import Any

from s3writer._s3 import client as clients
from s3writer._s3.arguments import names_for_writing
from s3writer._s3.checksums import best

#: What s3fs passes to ``open``, and has no meaning for a writer.
_OF_READERS = {"block_size", "cache_options", "cache_type", "fill_cache", "size", "version_id"}
#: The names of s3fs's options, and those of boto3's client.
_CREDENTIALS = {"key": "aws_access_key_id", "secret": "aws_secret_access_key", "token": "aws_session_token"}
#: Settings that only aiobotocore's Config takes.
_AIO_SETTINGS = {"connector_args", "http_session_cls"}


def writer_options(fs: Any, mode: str, options: dict[str, Any]) -> dict[str, Any]:
    """The writer's options: those of the file system, and over them the ``options`` of one file, without a reader's.
    ValueError if ``fs`` can't write.
    """
    if fs.anon:
        raise ValueError("anon=True can't write: give credentials to s3w, or let it find some")
    given = {name: value for name, value in options.items() if name not in _OF_READERS}
    own_client = given.get("client") or fs.writer.get("client")
    client = own_client or client_for(fs)
    payer, acl = given.pop("requester_pays", None), given.pop("acl", None)
    chosen: dict[str, Any] = {"encoding": None, "client": client}
    wants_checksums = fs.config_kwargs.get("request_checksum_calculation") != "when_required"
    if client is not None and own_client is None and wants_checksums:
        chosen["checksum"] = best().name
    if fs.s3_additional_kwargs:
        known = names_for_writing(clients.chosen(client).meta.service_model)
        chosen |= {name: value for name, value in fs.s3_additional_kwargs.items() if name in known}
    if acl := acl or fs.s3_additional_kwargs.get("acl"):
        chosen["ACL"] = acl
    if payer is None:
        chosen |= fs.req_kw
    elif payer:
        chosen["RequestPayer"] = "requester"
    chosen |= fs.writer | given
    return {**chosen, "exclusive": "x" in mode or chosen.get("exclusive", False)}


def client_for(fs: Any) -> Any:
    """A boto3 client with the options that s3fs was given. None if it was given none: then the writers use the client
    that all writers share.
    """
    if fs.has_foreign_session:
        raise ValueError("s3w can't write with an aiobotocore session: give writer={'client': boto3.client('s3')}")
    given = _named(fs) or fs.client_kwargs or fs.config_kwargs or fs.kwargs
    return clients.client_of(partial(_new_client, fs) if given or not fs.use_ssl else None)


def _new_client(fs: Any) -> Any:
    import boto3
    from botocore.session import Session

    session = boto3.session.Session(botocore_session=Session(**fs.kwargs))
    config = {name: value for name, value in fs.config_kwargs.items() if name not in _AIO_SETTINGS}
    return clients.tuned(session, config, **{"use_ssl": fs.use_ssl, **fs.client_kwargs, **_named(fs)})


def _named(fs: Any) -> dict[str, Any]:
    """The credentials and the endpoint that s3fs was given, by boto3's names."""
    named = {"endpoint_url": fs.endpoint_url}
    named |= {ours: getattr(fs, theirs) for theirs, ours in _CREDENTIALS.items()}
    return {name: value for name, value in named.items() if value is not None}
