"""Digests against published values, and the whole's from its parts' against the digest of the whole."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3writer._s3.checksums import Algorithm, algorithms, named

CRCS = [algorithm for algorithm in algorithms().values() if algorithm.crc]

#: Of b"123456789": the check values of the CRC catalogue (reveng), and FIPS 180.
CHECK = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "SHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


def digest(name: str, *pieces: bytes) -> str:
    running = named(name).start()
    for piece in pieces:
        running.update(memoryview(piece))
    assert running.size == sum(map(len, pieces))
    return running.value()


@pytest.mark.parametrize("name", algorithms())
def test_the_digest_has_its_published_value(name: str) -> None:
    assert base64.b64decode(digest(name, b"123456789")).hex() == CHECK[name]
    assert digest(name, b"1234", b"", b"56789") == digest(name, b"123456789")


@pytest.mark.parametrize("algorithm", CRCS, ids=lambda algorithm: algorithm.name)
@given(pieces=st.lists(st.binary(max_size=300), max_size=12))
def test_the_whole_objects_crc_follows_from_its_parts(algorithm: Algorithm, pieces: list[bytes]) -> None:
    assert algorithm.crc is not None
    parts = [(digest(algorithm.name, piece), len(piece)) for piece in pieces]
    assert algorithm.crc.combine(parts) == digest(algorithm.name, *pieces)


def test_an_unknown_algorithm_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"checksum='MD4' is not one of .*CRC32.* 'auto' or None"):
        named("MD4")


def test_without_awscrt_the_best_is_crc32() -> None:
    script = "import sys; sys.modules['awscrt'] = None; from s3writer._s3.checksums import best; print(best().name)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "CRC32\n"
    )


def test_composite_checksums_are_not_combined() -> None:
    assert {name for name, algorithm in algorithms().items() if algorithm.crc is None} == {"SHA1", "SHA256"}


@pytest.mark.parametrize("source", ["crc32c = crc32", "raise OSError('no such library')"])
def test_an_awscrt_that_is_old_or_broken_is_done_without(tmp_path: Path, source: str) -> None:
    package = tmp_path / "awscrt"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "checksums.py").write_text(f"from zlib import crc32\n{source}\n")
    script = "from s3writer._s3.checksums import best; print(best().name)"
    said = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "CRC32"
