"""What a stranger sees first: the README here and in the package, the package's metadata, and the landing page."""

import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PYPROJECT["urls"]["Source"]
#: Where the project's files are. What else lies in a checkout is made by tools.
FOLDERS = (".ci", ".github", "benchmarks", "constraints", "demo", "docs", "src", "tests")
FRONT = ("README.md", "docs/index.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md")
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"')
FENCED = re.compile(r"^```\w*\n.*?^```", re.DOTALL | re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def links(written: str) -> list[str]:
    """Where links and pictures lead."""
    return [there or picture for there, picture in LINK.findall(FENCED.sub("", written))]


def files() -> Iterator[Path]:
    """All of the project's files."""
    yield from (
        path for path in ROOT.iterdir() if path.is_file() and path.suffix in {".md", ".toml", ".yml", ".cff", ""}
    )
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def table(written: str) -> list[list[str]]:
    """The cells of the table of failures."""
    rows = written[written.index("| | `with writer`") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def released() -> str:
    """The section of the newest release in the changelog, with its heading."""
    found = re.search(r"^## \[\d.*?(?=^## \[|\Z)", text("CHANGELOG.md"), re.DOTALL | re.MULTILINE)
    assert found
    return found[0]


@cache
def built() -> dict[str, Any]:
    """The metadata of the package, as hatchling makes it."""
    command = [sys.executable, "-m", "hatchling", "metadata"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8")
    made: dict[str, Any] = json.loads(ended.stdout)
    return made


def test_all_links_of_the_package_s_page_are_absolute_and_lead_to_the_tag_of_this_version() -> None:
    version = PYPROJECT["version"]
    found = links(built()["readme"]["text"])
    ours = [link for link in found if link.startswith(ADDRESS)]
    assert [link for link in found if not link.startswith(("https://", "#"))] == []
    assert {link.removeprefix(ADDRESS).split("/")[2] for link in ours} == {f"v{version}"}
    kinds = {link.removeprefix(ADDRESS).split("/")[1] for link in ours if link.endswith(".svg")}
    assert kinds == {"raw"}, "pictures need their bytes, not the page about them"
    assert {Path(link.partition("#")[0]).suffix for link in ours if "/blob/" in link} == {".md"}


def test_the_package_s_page_is_the_readme_and_then_the_notes_of_this_release() -> None:
    page = built()["readme"]["text"]
    headings = [line for line in text("README.md").splitlines() if line.startswith("## ")]
    notes = released().splitlines()
    assert [line for line in page.splitlines() if line.startswith("## ")] == [*headings, "## Release notes", notes[0]]
    assert FENCED.findall(page) == FENCED.findall(text("README.md"))
    assert [line for line in notes if "](" not in line and line not in page] == []


def test_the_project_s_address_stands_in_one_file() -> None:
    named = ADDRESS.removeprefix("https://").encode()
    assert [path.name for path in files() if named in path.read_bytes()] == ["pyproject.toml"]


def test_every_address_of_pyproject_begins_like_that_of_the_source() -> None:
    host = "/".join(ADDRESS.split("/")[:3])
    found = re.findall(rf"{re.escape(host)}[^\s\"'\\$]*", text("pyproject.toml"))
    assert len(found) == len(PYPROJECT["urls"]) + 2
    assert [one for one in found if not one.startswith(ADDRESS)] == []


def test_the_version_is_the_one_that_the_changelog_releases_and_that_is_cited() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"), re.MULTILINE)
    cited = yaml.safe_load(text("CITATION.cff"))
    assert headings[:2] == [("Unreleased", ""), (PYPROJECT["version"], str(cited["date-released"]))]
    assert cited["version"] == PYPROJECT["version"]


@pytest.mark.parametrize("name", FRONT)
def test_a_relative_link_leads_to_a_file_and_its_anchor_to_a_heading(name: str) -> None:
    for link in links(text(name)):
        if not link.startswith(("https://", "../../security/")):
            path, _, anchor = link.partition("#")
            there = (ROOT / name).parent / path
            assert there.is_file(), f"{name} links to {link}"
            if anchor and there.suffix == ".md":
                headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings], link


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_the_table_of_failures_is_the_measured_one(name: str) -> None:
    measured = table(text("docs/comparison.md"))
    assert [len(measured), *map(len, measured)] == [9, *[6] * 9]
    assert table(text(name)) == measured


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_each_block_of_python_imports_what_it_uses(name: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821,E9,F401", "--quiet", "-"]
    for block in blocks:
        ended = subprocess.run(command, input=block, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (0, ""), block
    assert len([line for line in blocks[0].splitlines() if line]) <= 5


def test_the_extras_of_the_readme_are_those_of_the_package() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \|", text("README.md"), re.MULTILINE)
    extras = PYPROJECT["optional-dependencies"]
    names = {name: [re.split(r"[\[>]", one)[0] for one in needed] for name, needed in extras.items()}
    assert extras["crt"][0].startswith("boto3[crt]")
    assert {name: brought.lower().split(", ") for name, brought in rows} == names | {"crt": ["awscrt"]}


def test_the_classifiers_name_the_pythons_and_djangos_that_are_tested() -> None:
    jobs = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]
    pinned = re.search(r"^Django==(\d+\.\d+)", text("constraints/newest.txt"), re.MULTILINE)
    named = re.findall(r"(Python|Django) :: (\d+\.\d+)", "\n".join(PYPROJECT["classifiers"]))
    assert pinned
    assert [version for kind, version in named if kind == "Python"] == jobs["test"]["strategy"]["matrix"]["python"]
    djangos = [pinned[1], *jobs["django"]["strategy"]["matrix"]["django"]]
    assert [version for kind, version in named if kind == "Django"] == djangos
    assert f">={pinned[1]}" in PYPROJECT["optional-dependencies"]["django"][0]


def test_what_was_promised_takes_two_lines_at_most() -> None:
    section = text("README.md").partition("## What it promises\n")[2].partition("\n## ")[0]
    promises = re.findall(r"^\d\. .*(?:\n   .*)*", section, re.MULTILINE)
    assert len(promises) == 8
    # The link that follows may have a line of its own.
    assert [one for one in promises if len(re.sub(r"\n?\s*\[[^\]]*\]\([^)]*\)\.?", "", one).splitlines()) > 2] == []


def test_the_pictures_of_the_terminal_show_a_success_and_a_failure_in_the_readme_s_command() -> None:
    command = re.findall(r"^s3writer put .*$", text("README.md"), re.MULTILINE)[0]
    for name in ("light", "dark"):
        drawn = text(f"docs/pictures/put-{name}.svg").replace("&#160;", " ")
        assert f">{command}<" in drawn
        assert f">{command.split()[2]} published: " in drawn
        assert ">s3writer: not published: pg_dump failed: exit status 1<" in drawn
        assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_an_issue_form_asks_each_question_once_and_has_a_label_for_it(form: Path) -> None:
    asked = yaml.safe_load(form.read_text(encoding="utf-8"))
    questions = [one for one in asked["body"] if one["type"] != "markdown"]
    names = [one["id"] for one in questions]
    assert asked["name"]
    assert asked["description"]
    assert sorted(set(names)) == sorted(names)
    assert [one["id"] for one in questions if not one["attributes"].get("label")] == []


def test_the_rate_on_the_page_about_memory_is_that_of_the_benchmarks() -> None:
    section = text("docs/benchmarks.md").partition("## At S3's pace, with nothing set")[2].partition("\n## ")[0]
    measured = re.search(r"^\| s3writer, its defaults \| (\d+) \|", section, re.MULTILINE)
    claimed = re.search(r"\[sent (\d+) MiB/s\]\(benchmarks\.md\)", text("docs/memory.md"))
    assert measured
    assert claimed
    assert claimed[1] == measured[1]


def test_no_file_names_the_host_of_a_package_registry_and_no_page_a_private_module() -> None:
    registries = [
        ".".join(name) for name in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("shields", "io"))
    ]
    private = re.compile(r"\bs3writer(\.\w+)*\._(?!_)")
    folders = ("docs", "src", "tests", "benchmarks", "demo", "constraints", ".github", ".ci")
    files = [*ROOT.iterdir(), *itertools.chain.from_iterable((ROOT / folder).rglob("*") for folder in folders)]
    for file in files:
        if file.is_file() and file.suffix not in {".png", ".pyc"} and file != Path(__file__):
            said = file.read_text(encoding="utf-8", errors="ignore")
            assert not [host for host in registries if host in said], file
            assert not ("docs" in file.parts and file.suffix == ".md" and private.search(said)), file
