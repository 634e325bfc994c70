"""Runs each library in turn, keeps what came out, and takes medians and ratios of it."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MIB, GIB = 1024**2, 1024**3
PART, IN_FLIGHT = 8 * MIB, 8
#: After the name of a library that runs with nothing set.
ITS_DEFAULTS = ", its defaults"
DEFAULTS = f"s3writer{ITS_DEFAULTS}"


@dataclass
class Bench:
    """Where to run, how often, and what came out: by scenario and library, a list of measurements."""

    pythons: dict[str, str]
    certificates: Path
    rounds: int
    scale: float
    results: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)

    def run(self, scenario: str, libraries: list[str], endpoint: str, **job: Any) -> None:
        """Each library in turn, ROUNDS times."""
        found = self.results.setdefault(scenario, {library: [] for library in libraries})
        job = {"chunk": MIB, "part_size": PART, "concurrency": IN_FLIGHT, **job, "endpoint": endpoint}
        job["size"] = int(job["size"] * self.scale)
        job["ca"] = str(self.certificates / "ca.pem") if endpoint.startswith("https") else None
        for _ in range(self.rounds):
            for library in libraries:
                name, is_default = library.removesuffix(ITS_DEFAULTS), library.endswith(ITS_DEFAULTS)
                measured = self.script("clients.py", name, json.dumps({**job, "defaults": is_default}))
                found[library].append({**measured, "size": job["size"]})
        what = next(iter(found[libraries[0]][0]))
        took = (f"{name} {self.median(scenario, name, what):.2f} s" for name in libraries)
        print(f"{scenario}: {', '.join(took)}", flush=True)

    def script(self, script: str, *arguments: str) -> Any:
        """What a script of this folder prints, in the environment of the library that it measures."""
        python = self.pythons.get(arguments[0] if arguments else "", sys.executable)
        environment = {**os.environ, "SSL_CERT_FILE": str(self.certificates / "ca.pem")}
        command = [python, str(HERE / script), *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{ended.stderr}")
        return json.loads(ended.stdout)

    def median(self, scenario: str, library: str, what: str) -> float:
        """The median of one figure; ``per_gib`` is the CPU's."""
        return statistics.median(figure(one, what) for one in self.results[scenario][library])

    def ratio(self, scenario: str, library: str, other: str, what: str) -> str:
        """Round by round, one library's figure over another's: the median, and the spread."""
        pairs = zip(self.results[scenario][library], self.results[scenario][other], strict=True)
        ratios = sorted(figure(one, what) / figure(two, what) for one, two in pairs)
        return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def figure(measured: dict[str, float], what: str) -> float:
    """One figure of a measurement, from those that were taken."""
    if what == "cpu_per_gib":
        return measured["cpu"] / (measured["size"] / GIB)
    if what == "rate":
        return measured["size"] / MIB / measured["wall"]
    if what == "memory_mib":
        return measured["memory"] / MIB
    return measured[what]
