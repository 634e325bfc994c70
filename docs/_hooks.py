"""The parts of the site that come from the code and from pyproject.toml.

From pyproject.toml: the version, the description, and the addresses under ``[project.urls]``. From the code: the states
of an upload, drawn from the table of legal moves, and the list of all public names.
"""

import html
import importlib
import inspect
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from s3writer._upload.lifecycle import MOVES, State

#: The pages of the reference, each with the entries that it explains.
REFERENCE = ("writing", "results", "asyncio", "segments", "uploads")
#: A description for search engines is cut at the end of a sentence, if there is one before this length.
LONGEST = 160


def on_config(config: Any) -> Any:
    """Called by mkdocs once, before it builds."""
    project = tomllib.loads((Path(config.config_file_path).parent / "pyproject.toml").read_text("utf-8"))["project"]
    urls = {label.lower(): url.rstrip("/") for label, url in project.get("urls", {}).items()}
    config.extra["project"] = project["name"]
    config.site_name = f"{project['name']} {project['version']}"
    config.site_description = project["description"]
    config.copyright = f"{config.site_name}, {project['license']} license"
    if source := urls.get("repository") or urls.get("source"):
        config.repo_url = source
        config.repo_name = "/".join(source.split("/")[-2:])
        config.edit_uri = "edit/main/docs/"
    site = urls.get("documentation", "")
    if site and not site.endswith(".md"):  # where the pages are read in the repository, there is no site
        config.site_url = f"{site}/"
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    page.meta.setdefault("description", html.escape(described(markdown)))
    for place, made in (("<!-- states -->", states), ("<!-- names -->", names)):
        if place in markdown:
            markdown = markdown.replace(place, made())
    return markdown


def on_post_page(output: str, **_: Any) -> str:
    """Called by mkdocs with each page as it is written: no tooltip names a private module."""
    return re.sub(r' title="[^"]*s3writer\._[^"]*"', "", output)


def described(markdown: str) -> str:
    """The beginning of the page's first paragraph, without markup."""
    without_code = re.sub(r"^```.*?^```|<!--.*?-->", "", markdown, flags=re.DOTALL | re.MULTILINE)
    paragraphs = (" ".join(block.split()) for block in re.split(r"\n\s*\n", without_code))
    first = next((paragraph for paragraph in paragraphs if re.match(r"[^\W\d]|[`*\[\"]", paragraph)), "")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", first)
    sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", re.sub(r"[`*]+", "", plain))
    text = sentences[0]
    for sentence in sentences[1:]:
        if len(text) + len(sentence) >= LONGEST:
            break
        text += f" {sentence}"
    return re.sub(r":$", ".", text)


def names() -> str:
    """A table for each page of the reference: its names, and the first sentence of each docstring."""
    tables = []
    for page in REFERENCE:
        text = (Path(__file__).parent / f"reference-{page}.md").read_text("utf-8")
        tables += [f"\n## {text.splitlines()[0].removeprefix('# ')}\n", "| name | what it is |", "| --- | --- |"]
        for path in re.findall(r"^::: (\S+)", text, re.MULTILINE):
            module, _, name = path.rpartition(".")
            doc = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
            sentence = re.match(r".*?[.](?=\s|$)", " ".join(doc.split()))
            tables.append(f"| [`{path}`][{path}] | {sentence[0] if sentence else ''} |")
    return '<div class="names" markdown>\n' + "\n".join(tables) + "\n\n</div>"


def states() -> str:
    """The states of an upload and the moves between them, as a picture."""
    return f'<figure class="states">{drawn(graph())}</figure>'


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
