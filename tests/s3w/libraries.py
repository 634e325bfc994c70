"""Libraries that open ``s3w://`` themselves: what they publish is whole, also if they fail halfway."""

import gc
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.dataframe
import duckdb
import fsspec
import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import xarray

from tests.s3w.conftest import OPTIONS

ROWS = 2000
#: Those of the libraries among themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


class Boom(Exception):
    """An exception of the user's own."""


class Unprintable:
    """What no text can be made of."""

    def __str__(self) -> str:
        raise Boom

    __repr__ = __str__


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3w://{bucket}/key"


@pytest.fixture
def frame() -> Any:
    return pd.DataFrame({"number": range(ROWS), "name": ["x"] * ROWS})


def keys(client: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zip"])
def test_pandas_writes_csv(frame: Any, url: str, suffix: str) -> None:
    frame.to_csv(url + suffix, index=False, storage_options=OPTIONS)
    assert pd.read_csv(url + suffix, storage_options=OPTIONS).equals(frame)


def test_pandas_writes_parquet_json_and_pickle(frame: Any, url: str) -> None:
    frame.to_parquet(url, storage_options=OPTIONS)
    assert pd.read_parquet(url, storage_options=OPTIONS).equals(frame)
    frame.to_json(url, storage_options=OPTIONS)
    assert len(pd.read_json(url, storage_options=OPTIONS)) == ROWS
    frame.to_pickle(url, storage_options=OPTIONS)
    assert pd.read_pickle(url, storage_options=OPTIONS).equals(frame)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zip"])
def test_a_csv_of_pandas_that_fails_leaves_nothing(client: Any, bucket: str, url: str, suffix: str) -> None:
    with pytest.raises(Boom):
        pd.DataFrame({"a": [1] * 200_000 + [Unprintable()]}).to_csv(url + suffix, storage_options=OPTIONS)
    assert keys(client, bucket) == []


def test_a_pickle_of_pandas_that_fails_leaves_nothing(client: Any, bucket: str, url: str) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pd.DataFrame({"a": [1, lambda: 1]}).to_pickle(url, storage_options=OPTIONS)
    assert keys(client, bucket) == []


def test_pandas_can_t_append(frame: Any, client: Any, bucket: str, url: str) -> None:
    with pytest.raises(OSError, match="s3w writes whole objects, and does not append to them"):
        frame.to_csv(url, mode="a", storage_options=OPTIONS)
    assert keys(client, bucket) == []


def test_a_parquet_file_that_fails_after_a_row_group_leaves_nothing(
    client: Any, bucket: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        write(*_, **__)
        raise Boom

    write = pyarrow.parquet.ParquetWriter.write_table
    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", fail)
    with pytest.raises(Boom):
        pd.DataFrame({"a": np.random.default_rng(1).random(2_000_000)}).to_parquet(url, storage_options=OPTIONS)
    assert keys(client, bucket) == []


def settled(gone: Callable[[], bool]) -> bool:
    """Whether ``gone`` comes true: a file that is collected is aborted in a thread of its own."""
    from threading import Event

    return any(gone() or Event().wait(0.1) for _ in range(300))


def test_a_dataset_of_pyarrow_that_fails_leaves_nothing(client: Any, bucket: str) -> None:
    schema = pa.schema([("a", pa.int64())])

    def batches() -> Iterator[Any]:
        for seed in range(20):
            yield pa.record_batch({"a": np.random.default_rng(seed).integers(0, 2**62, 100_000)})
        raise Boom

    def write(rows: Any) -> None:
        fs = fsspec.filesystem("s3w", **OPTIONS)
        pyarrow.dataset.write_dataset(
            rows, f"{bucket}/set", schema=schema, filesystem=fs, format="parquet", max_rows_per_group=50_000
        )

    write([pa.record_batch({"a": np.arange(10)})])
    assert keys(client, bucket) == ["set/part-0.parquet"]
    client.delete_object(Bucket=bucket, Key="set/part-0.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(Boom):
            write(batches())
        gc.collect()
        assert settled(lambda: client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == [])
    assert keys(client, bucket) == []


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_within_a_transaction_duckdb_publishes_whole_files_only(
    fs: Any, client: Any, bucket: str, url: str, kind: str
) -> None:
    database = duckdb.connect()
    database.register_filesystem(fs)
    copy = f"COPY ({{}}) TO '{url}' (FORMAT {kind}, USE_TMP_FILE false)"
    fails = "SELECT CASE WHEN range = 599999 THEN error('boom') ELSE hash(range)::VARCHAR END FROM range(600000)"
    client.put_object(Bucket=bucket, Key="key", Body=b"as it was")
    with pytest.raises(duckdb.Error, match="boom"), fs.transaction:
        database.execute(copy.format(fails))
    assert fs.cat(url) == b"as it was"
    with fs.transaction:
        database.execute(copy.format("SELECT 7 AS number"))
    assert database.execute(f"SELECT * FROM read_{kind}('{url}')").fetchall() == [(7,)]


def test_dask_writes_an_object_for_each_partition(frame: Any, client: Any, bucket: str, url: str) -> None:
    def fail(part: Any) -> Any:
        if part.number.max() == ROWS - 1:
            raise Boom
        return part

    parts = dask.dataframe.from_pandas(frame, npartitions=2)
    with dask.config.set(scheduler="threads"):
        parts.to_parquet(url, storage_options=OPTIONS)
        assert keys(client, bucket) == ["key/part.0.parquet", "key/part.1.parquet"]
        assert len(dask.dataframe.read_parquet(url, storage_options=OPTIONS)) == ROWS
        with pytest.raises(Boom):
            parts.map_partitions(fail, meta=parts._meta).to_csv(f"{url}-*.csv", storage_options=OPTIONS)
        assert "key-1.csv" not in keys(client, bucket)
        with pytest.raises(OSError, match="does not append"):
            parts.to_csv(f"{url}.csv", single_file=True, storage_options=OPTIONS)
        assert "key.csv" in keys(client, bucket)


def test_xarray_writes_a_zarr_store(url: str) -> None:
    xarray.Dataset({"value": ("x", np.arange(1000.0))}).to_zarr(url, storage_options=OPTIONS)
    with xarray.open_zarr(url, storage_options=OPTIONS) as found:
        assert found.value.values.sum() == 499_500


def test_joblib_and_pickle_write_to_an_open_file(fs: Any, client: Any, bucket: str, url: str) -> None:
    with fs.open(url, "wb") as stream:
        joblib.dump(np.arange(10), stream)
    with fs.open(url, "rb") as source:
        assert joblib.load(source).sum() == 45
    with pytest.raises((pickle.PicklingError, AttributeError)), fs.open(f"{url}.pickle", "wb") as stream:
        pickle.dump([1, lambda: 1], stream)
    assert keys(client, bucket) == ["key"]
