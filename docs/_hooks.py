"""What the pages have that is made from the code: the states of an upload, drawn from the table of legal moves."""

import re
import subprocess
from typing import Any

from s3writer._upload.lifecycle import MOVES, State

PLACE = "<!-- states -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return (
        markdown.replace(PLACE, f'<figure class="states">{drawn(graph())}</figure>') if PLACE in markdown else markdown
    )


def graph() -> str:
    """The table of legal moves in the language of Graphviz."""
    ends = [state for state in State if not MOVES[state]]
    nodes = [f'"{state.value}" [shape=box style="rounded{",bold" if state in ends else ""}"]' for state in State]
    edges = [f'"{before.value}" -> "{after.value}"' for before in State for after in sorted(MOVES[before], key=str)]
    look = 'rankdir=LR bgcolor=transparent node [fontname="sans-serif" fontsize=12]'
    return "digraph states { " + look + "; " + "; ".join(nodes + edges) + " }"


def drawn(source: str) -> str:
    """As SVG whose ink is the page's."""
    made = subprocess.run(["graphviz-pure", "-Tsvg"], input=source, capture_output=True, text=True, check=True)
    picture = made.stdout[made.stdout.index("<svg") :]
    picture = re.sub(r'(stroke|fill)="black"', r'\1="currentColor"', picture).replace(
        "<text ", '<text fill="currentColor" '
    )
    return re.sub(r"\s*\n\s*", " ", re.sub(r"<!--.*?-->|<title>.*?</title>", "", picture, flags=re.DOTALL))
