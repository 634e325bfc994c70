"""What the library says in Python's words, said in those of the command line."""

import re

#: Python's names for options that a command has. One without an underscore may also be a word of English.
_OPTIONS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "allow_dot_segments",
        "checksum",
        "endpoint_url",
        "equal_parts",
        "exclusive",
        "expected_size",
        "max_concurrency",
        "max_memory",
        "part_size",
    )
} | {"commit_token": "--no-commit-token", "region_name": "--region"}

_QUOTES = "'\""
_LONG = "|".join(name for name in _OPTIONS if "_" in name)
_NAME = re.compile(
    rf"""(?<![\w/.=-]) (?: ({"|".join(_OPTIONS)}) = ("[^"]*"|'[^']*'|[\w-]+) | ({_LONG}) ) (?![\w/=-])""", re.VERBOSE
)

#: Sentences about a client, which a command makes itself.
_PHRASES = {
    "boto3 takes those of the client, or else of the environment, a profile or a role": (
        "they are those of the environment, of a profile (--profile) or of a role"
    ),
    "Make the client with the bucket's region_name": "Give --region, the bucket's",
    "Make the client with region_name": "Give region_name",
    "the client's endpoint_url": "--endpoint-url",
    "the client's endpoint": "--endpoint-url",
}


def in_shell(text: str, key: str = "") -> str:
    """``text`` with options in the place of parameters: ``--part-size 8388608`` for ``part_size=8388608``. An object's
    ``key`` is left as it is where it stands in a URL or in quotes.
    """
    own = re.escape(key)
    pieces = re.split(rf"""(s3://[^/\s]+/{own}|'{own}'|"{own}")""", text) if key else [text]
    pieces[::2] = map(_translated, pieces[::2])
    return "".join(pieces)


def _translated(text: str) -> str:
    for phrase, other in _PHRASES.items():
        text = text.replace(phrase, other)
    return _NAME.sub(_option, text)


def _option(found: re.Match[str]) -> str:
    name, value, bare = found.groups()
    if bare or value == str(name != "commit_token"):
        return _OPTIONS[bare or name]
    if value in {"True", "False"}:
        return found[0]
    return f"{_OPTIONS[name]} {'none' if value == 'None' else value.strip(_QUOTES)}"
