"""The page and the plots that a run of the benchmarks leaves in docs/."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from bench import DEFAULTS, ITS_DEFAULTS

if TYPE_CHECKING:
    from bench import Bench

MIB = 1024**2
THEMES = {"light": {"text": "#1a1a1a", "bar": "#8a8f98"}, "dark": {"text": "#e6e6e6", "bar": "#9aa0aa"}}
OURS = "#2a9d8f"


def write_page(
    bench: "Bench", other: dict[str, Any], docs: Path, *, machine: str, versions: dict[str, str], today: str
) -> None:
    """docs/benchmarks.md, and its plots in docs/plots/."""
    folder = docs / "plots"
    folder.mkdir(exist_ok=True)
    at_pace = {"rate": "MiB/s (more is better)", "memory_mib": "MiB of memory above idle (less is better)"}
    bars(bench, "defaults at S3's pace", at_pace, folder / "defaults")
    bars(bench, "tls", {"cpu_per_gib": "CPU seconds a GiB, over TLS (less is better)"}, folder / "cpu")
    bars(bench, "tls", {"rate": "MiB/s over TLS (more is better)"}, folder / "tls")
    lengths = {float(name.split()[1]): name for name in bench.results if name.startswith("length ")}
    line(bench, lengths, folder / "length")
    peers = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    sections = [
        HEAD.format(today=today, machine=machine, rounds=bench.rounds, peers=peers),
        picture("defaults", "throughput and memory at S3's pace, with nothing set"),
        table(bench, "defaults at S3's pace", ["rate", "memory_mib", "cpu_per_gib"]),
        ratios(bench, "defaults at S3's pace", {"rate": "throughput"}),
        SAME_SETTINGS,
        table(bench, "pace", ["rate", "memory_mib", "cpu_per_gib"], base="s3writer"),
        SHORT,
        short_uploads(bench),
        OVER_TLS,
        picture("cpu", "CPU seconds a GiB"),
        picture("tls", "throughput over TLS"),
        table(bench, "tls", ["cpu_per_gib", "rate", "memory_mib"]),
        ratios(bench, "tls", {"cpu_per_gib": "CPU", "rate": "throughput"}),
        small(bench),
        lengths_section(bench, lengths),
        memory(bench),
        requests(other),
        many(other),
        simulation(other),
    ]
    (docs / "benchmarks.md").write_text("\n".join(sections))


HEAD = """# Benchmarks

How fast s3writer is, and how much memory and CPU it takes, beside other libraries. Made by `make bench` on {today}:
{machine}. In each of {rounds} rounds the libraries take turns, each in a process of its own; the figures are medians.

The server is another process, and throws everything away. It competes with the client for the cores, so the ratios mean
more than the figures. A ratio is taken round by round; we show the median, and in brackets the least and the most. The
other libraries: {peers}.

## At S3's pace, with nothing set

2 GiB in writes of 1 MiB. The server waits 30 ms before each answer, and takes 90 MB/s from each connection, as S3 does.
Each library has its own defaults. opendal needs a part size, and sends 10 parts of 8 MiB at once. pyarrow queues what
the network does not take, without a limit.
"""

SAME_SETTINGS = """## At S3's pace, with the same settings

The same stream. Each library sends 10 parts of 8 MiB at once, if it can.
"""

SHORT = """## Short streams

Milliseconds at S3's pace, from making the writer until the object is published. The first upload of a process imports
the library, and makes its client. *ending* is the time that the second upload takes after its last `write`.
"""

OVER_TLS = """## CPU, over TLS

1 GiB of fresh bytes in writes of 1 MiB, after a small object. Each library sends 8 parts of 8 MiB at once, if it can.
Each verifies the server, and its file of authorities has all of botocore's. *sockets* is the floor: as many threads
write the same bytes straight into TLS sockets. opendal sends checksums only if it is told to, as in the last row.
"""

SMALL = """## Small writes

Nanoseconds that one `write` of 100 bytes takes: in a stream of 4 MiB, where nothing is sent, and in one of 64 MiB,
where parts are sent meanwhile (opendal would take minutes). *bytesio* is `io.BytesIO`.
"""


def picture(name: str, text: str) -> str:
    """Both versions of a plot; the theme shows the one that fits."""
    return f"![{text}](plots/{name}-light.svg#only-light)\n![{text}](plots/{name}-dark.svg#only-dark)\n"


def short(figure: float) -> str:
    """Three digits, without an exponent."""
    return f"{float(f'{figure:.3g}'):g}"


COLUMNS = {"cpu_per_gib": "CPU s a GiB", "rate": "MiB/s", "memory_mib": "memory above idle, MiB"}


def table(bench: "Bench", scenario: str, columns: list[str], base: str = "") -> str:
    """A row a library. With a ``base`` the last column is its throughput over the library's."""
    heads = [COLUMNS[name] for name in columns] + ([f"{base} over it"] if base else [])
    rows = ["| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for library in bench.results[scenario]:
        figures = [short(bench.median(scenario, library, name)) for name in columns]
        if base:
            figures.append("" if library == base else bench.ratio(scenario, base, library, "rate"))
        rows.append(f"| {library} | " + " | ".join(figures) + " |")
    return "\n".join(rows) + "\n"


def ratios(bench: "Bench", scenario: str, columns: dict[str, str]) -> str:
    """s3writer's defaults over the others', round by round."""
    rows = ["s3writer with its defaults over each other library, round by round:\n"]
    rows += [f"| over | {' | '.join(columns.values())} |", "| --- |" + " --- |" * len(columns)]
    for library in bench.results[scenario]:
        if not library.startswith("s3writer") and all(bench.median(scenario, library, name) for name in columns):
            found = (bench.ratio(scenario, DEFAULTS, library, name) for name in columns)
            rows.append(f"| {library} | {' | '.join(found)} |")
    return "\n".join(rows) + "\n"


def short_uploads(bench: "Bench") -> str:
    """The first and the second upload of a process, and the ratios that matter."""
    rows = ["| | MiB | first | second | ending |", "| --- | ---: | ---: | ---: | ---: |"]
    over = ["\ns3writer's time over another library's, round by round:\n"]
    over += ["| MiB | second, over obstore | first, over boto3 |", "| ---: | ---: | ---: |"]
    for scenario, found in bench.results.items():
        if not scenario.startswith("upload of "):
            continue
        mib = scenario.split()[2]
        for library in found:
            figures = (1000 * bench.median(scenario, library, name) for name in ("first", "second", "ending"))
            rows.append(f"| {library} | {mib} | {' | '.join(f'{figure:.0f}' for figure in figures)} |")
        second = bench.ratio(scenario, DEFAULTS, f"obstore{ITS_DEFAULTS}", "second")
        first = bench.ratio(scenario, DEFAULTS, f"boto3{ITS_DEFAULTS}", "first")
        over.append(f"| {mib} | {second} | {first} |")
    return "\n".join(rows + over) + "\n"


def small(bench: "Bench") -> str:
    """What a small write costs."""
    rows = [SMALL, "| | 4 MiB | 64 MiB |", "| --- | ---: | ---: |"]
    one, long = "one part of 100-byte writes", "100-byte writes"
    for library in bench.results[one]:
        streamed = f"{nanoseconds(bench, long, library):.0f}" if library in bench.results[long] else ""
        rows.append(f"| {library} | {nanoseconds(bench, one, library):.0f} | {streamed} |")
    ratio = bench.ratio(one, DEFAULTS, "bytesio", "writing")
    rows.append(f"\ns3writer over `io.BytesIO`, in 4 MiB: {ratio}.\n")
    names = {"dump_json": "json.dump", "write_csv": "csv.writer", "write_xml": "Django's XML generator"}
    libraries = list(bench.results["dump_json"])
    rows += ["Seconds for 32 MiB from producers in Python:\n"]
    rows += [f"| | {' | '.join(libraries)} |", "| --- |" + " ---: |" * len(libraries)]
    for shape, name in names.items():
        figures = (bench.median(shape, library, "wall") for library in libraries)
        rows.append(f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    rows.append(
        "\n*rawio* is a raw file whose `write` does nothing. `XMLGenerator` writes to a raw file through a wrapper in "
        "Python, which looks up `write` for each piece. Open the object in text mode for it.\n"
    )
    objects = bench.ratio("objects", DEFAULTS, "put_object", "cpu")
    rows.append(f"An object of 1 KiB takes {objects} times the CPU of boto3's `put_object`.")
    return "\n".join(rows) + "\n"


def nanoseconds(bench: "Bench", scenario: str, library: str) -> float:
    """One write's time."""
    size = bench.results[scenario][library][0]["size"]
    return bench.median(scenario, library, "writing") / (size / 100) * 1e9


def lengths_section(bench: "Bench", lengths: dict[float, str]) -> str:
    """Cost against length."""
    rows = ["## Cost against length\n", "Over plain HTTP, to a server that answers at once, with the defaults.\n"]
    rows += [picture("length", "CPU seconds against the length of the stream")]
    rows += ["| stream | CPU s | CPU s a GiB | memory above idle, MiB |", "| ---: | ---: | ---: | ---: |"]
    for gib, name in sorted(lengths.items()):
        cpu, per_gib = (bench.median(name, DEFAULTS, figure) for figure in ("cpu", "cpu_per_gib"))
        long = f"{gib:g} GiB" if gib >= 1 else f"{gib * 1024:g} MiB"
        rows.append(f"| {long} | {cpu:.3f} | {per_gib:.2f} | {bench.median(name, DEFAULTS, 'memory_mib'):.0f} |")
    return "\n".join(rows) + "\n"


def memory(bench: "Bench") -> str:
    """The bound, which is 128 MiB by default."""
    rows = [
        "## Memory\n",
        "Peak above idle, the largest of all rounds, with the default `max_memory` of 128 MiB.\n",
        "| | MiB |",
        "| --- | ---: |",
    ]
    for name in ("tls", "length 20", "one write of 4 GiB", "a slow server"):
        if name in bench.results:
            label = {"tls": "1 GiB over TLS", "length 20": "20 GiB"}.get(name, name)
            rows.append(f"| {label} | {max(bench.results[name][DEFAULTS], key=peak)['memory'] / MIB:.0f} |")
    return "\n".join(rows) + "\n"


def peak(measured: dict[str, float]) -> float:
    """The memory of one measurement."""
    return measured["memory"]


def requests(other: dict[str, Any]) -> str:
    """Requests an object."""
    rows = ["## Requests\n", "| bytes | requests |", "| ---: | ---: |"]
    return "\n".join(rows + [f"| {size:,} | {count} |" for size, count in other["requests"].items()]) + "\n"


def many(other: dict[str, Any]) -> str:
    """A thousand writers."""
    found = other["many"]
    return (
        f"## {found['writers']:,} writers at once\n\nOne thread writes 1,000 bytes to each in turn, 50 times, and "
        f"publishes them all. It takes {found['wall']:.1f} s, {found['threads']} threads and "
        f"{found['memory'] / MIB:.0f} MiB above idle.\n"
    )


def simulation(other: dict[str, Any]) -> str:
    """Streams too long to send."""
    rows = ["## Long streams, simulated\n", "How s3writer cuts streams that are too long to send here.\n"]
    rows.append("| stream | parts | largest part, MiB | memory, MiB | planning, s |")
    rows.append("| --- | ---: | ---: | ---: | ---: |")
    for name, found in other["simulation"].items():
        largest, held = found["largest"], found["memory"]
        rows.append(f"| {name} | {found['parts']:,} | {largest:.0f} | {held:.0f} | {found['planning']:.3f} |")
    return "\n".join(rows) + "\n"


def bars(bench: "Bench", scenario: str, titles: dict[str, str], path: Path) -> None:
    """A bar a library, for each figure beside the other, in both themes."""
    libraries = list(bench.results[scenario])[::-1]
    names = [library.removesuffix(ITS_DEFAULTS) for library in libraries]
    names = libraries if len(set(names)) < len(names) else names
    for theme, colors in THEMES.items():
        with figure(colors, list(titles.values()), path.with_name(f"{path.name}-{theme}.svg")) as plots:
            for axes, what in zip(plots, titles, strict=True):
                medians = [bench.median(scenario, library, what) for library in libraries]
                shades = [OURS if library.startswith("s3writer") else colors["bar"] for library in libraries]
                drawn = axes.barh(names, medians, color=shades)
                axes.bar_label(drawn, fmt=short, padding=4, color=colors["text"])
                axes.margins(x=0.15)


def line(bench: "Bench", lengths: dict[float, str], path: Path) -> None:
    """CPU seconds against GiB."""
    gibs = sorted(lengths)
    seconds = [bench.median(lengths[gib], DEFAULTS, "cpu") for gib in gibs]
    for theme, colors in THEMES.items():
        target = path.with_name(f"{path.name}-{theme}.svg")
        with figure(colors, ["CPU seconds against the length of the stream, GiB"], target) as (axes,):
            axes.plot(gibs, seconds, marker="o", color=OURS)


class figure:  # noqa: N801 - used like a function
    """Plots side by side, one for each title, saved as one SVG with a transparent ground."""

    def __init__(self, colors: dict[str, str], titles: list[str], path: Path) -> None:
        self._path = path
        count = len(titles)
        self._figure, plots = plt.subplots(
            1, count, figsize=(8 + 2 * (count - 1), 3.4), layout="constrained", sharey=True, squeeze=False
        )
        self._axes = list(plots[0])
        for axes, title in zip(self._axes, titles, strict=True):
            axes.set_title(title, color=colors["text"], loc="left", fontsize="medium")
            axes.tick_params(colors=colors["text"])
            for side, spine in axes.spines.items():
                spine.set_visible(side == "left")
                spine.set_color(colors["text"])

    def __enter__(self) -> Any:
        return self._axes

    def __exit__(self, *_: object) -> None:
        self._figure.savefig(self._path, transparent=True, metadata={"Date": None})
        plt.close(self._figure)
