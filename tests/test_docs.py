"""The how-to pages do what they say: each command and each piece of code is run, page by page, against a real store."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stores import KEY_ID, REGION, SECRET, Store

DOCS = Path(__file__).parent.parent / "docs"
#: The how-to pages, and which objects they make.
PAGES: dict[str, set[str]] = {
    "backup": {"backups/mydb.sql", "backups/mydb.sql.gz"},
    "transaction": {
        "reports/today.csv",
        "reports/tomorrow.csv",
        "reports/later.csv",
        "export/rows.csv",
        "export/manifest.json",
    },
    "resume": {"large.bin", "data.bin"},
    "cleanup": set(),
}
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: What stands in for the database's own program: a dump is a dump.
PG_DUMP = "#!/bin/sh\nseq 1 1000000\n"
DJANGO = """
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
import django
django.setup()
"""


@pytest.fixture
def environment(store: Store, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell's environment, in which the pages' bucket exists."""
    client = store.client()
    client.create_bucket(Bucket="my-bucket")
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(PG_DUMP)
    program.chmod(0o755)
    yield {
        **os.environ,
        "AWS_ENDPOINT_URL": str(store.endpoint),
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for found in client.list_objects_v2(Bucket="my-bucket").get("Contents", []):
        client.delete_object(Bucket="my-bucket", Key=found["Key"])
    client.delete_bucket(Bucket="my-bucket")


def scripts(page: str) -> tuple[str, str]:
    """All the code of a page as one program, and all its commands as one script."""
    code, commands = [], ["set -eo pipefail"]
    for kind, text in BLOCK.findall((DOCS / f"{page}.md").read_text()):
        if kind == "python":
            code.append(text)
        else:
            commands += [line.removeprefix("$ ") for line in text.splitlines()]
    return "\n".join(code), "\n".join(commands)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(environment: dict[str, str], client: Any, tmp_path: Path, page: str) -> None:
    code, commands = scripts(page)
    django = DJANGO if "django" in code else ""
    for command in ([sys.executable, "-c", django + code], ["bash", "-c", commands]):
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
    published = {found["Key"] for found in client.list_objects_v2(Bucket="my-bucket").get("Contents", [])}
    assert published == PAGES[page]
    assert client.list_multipart_uploads(Bucket="my-bucket").get("Uploads", []) == []
