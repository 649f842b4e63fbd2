"""`make bench`: compare this package with others, against a server on this machine.

The figures are written to `docs/benchmarks.json`, the page to `docs/benchmarks.md`, the plots to `docs/images`. With
`small` it measures little, prints the figures and writes nothing.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, REQUIRES
from page import write_page

HERE = Path(__file__).parent
ROOT = HERE.parent
VENVS = ROOT / ".bench"
MAX_SECONDS = 240  # for one measurement
ROUNDS = 3  # each in a new process; the page shows the median


@contextmanager
def run_server() -> Iterator[str]:
    """Run the server and yield its port."""
    command = [sys.executable, str(HERE / "server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101  for the type checker
        yield process.stdout.readline().strip()
        process.stdin.close()


def find_python(venv_name: str) -> Path | None:
    """Return the Python of a virtual environment, which is built first if it is missing; None if that fails."""
    if not venv_name:
        return Path(sys.executable)
    python = VENVS / venv_name / "bin" / "python"
    if not python.exists():
        venv.create(VENVS / venv_name, with_pip=True)
    ready = VENVS / venv_name / ".ready"
    if not ready.exists():
        command = [str(python), "-m", "pip", "install", "--quiet", "httpx", "pillow", *REQUIRES[venv_name]]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return None
        ready.touch()
    return python


def run_measurement(python: Path, program: str, *arguments: str) -> Any:
    """Run a measurement in a new process and return its figures, or the reason why there are none."""
    command = [str(python), str(HERE / program), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=MAX_SECONDS, check=False, cwd=HERE)
    except subprocess.TimeoutExpired:
        return f"took more than {MAX_SECONDS} s"
    lines = process.stdout.strip().splitlines()
    if process.returncode or not lines:
        errors = [line for line in process.stderr.splitlines() if "Error" in line]
        return f"failed: {errors[-1].partition(':')[0].rpartition('.')[2][:40]}" if errors else "failed"
    return json.loads(lines[-1])


def find_median(runs: list[Any]) -> Any:
    """Return the median of each figure of several runs."""
    complete = [run for run in runs if isinstance(run, dict)]
    if not complete:
        return runs[0]
    medians = {}
    for name in complete[0]:
        values = [run[name] for run in complete if name in run]
        are_numbers = all(isinstance(value, int | float) for value in values)
        medians[name] = sorted(values)[len(values) // 2] if are_numbers else find_median(values)
    return medians


def find_version(python: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    statement = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([str(python), "-c", statement], capture_output=True, text=True, check=False).stdout.strip()


def measure_contestants(port: str, *, small: bool) -> dict[str, Any]:
    """Measure each contestant, in rounds that take turns."""
    kinds = ("cpu", "failing") if small else ("cpu", "memory", "failing")
    contestants = [contestant for contestant in CONTESTANTS if not small or not contestant.venv]
    pythons = {name: find_python(name) for name in {contestant.venv for contestant in contestants}}
    figures: dict[str, Any] = {
        contestant.name: {"does": contestant.work, **{kind: [] for kind in kinds}} for contestant in contestants
    }
    for _ in range(1 if small else ROUNDS):
        for contestant in contestants:
            name, python = contestant.name, pythons[contestant.venv]
            for kind in kinds:
                if kind == "failing" and figures[name][kind]:  # a count, the same in each round
                    continue
                print(name, kind, flush=True)
                result = "could not be installed"
                if python is not None:
                    result = run_measurement(python, "measure.py", kind, name, port)
                figures[name][kind].append(result)
    for contestant in contestants:
        name, python = contestant.name, pythons[contestant.venv]
        figures[name]["version"] = "" if python is None else find_version(python, contestant.package)
        for kind in kinds:
            figures[name][kind] = find_median(figures[name][kind])
    return figures


def main() -> None:
    """Measure, and write the figures and the page."""
    small = "small" in sys.argv
    with run_server() as port:
        python = Path(sys.executable)
        more = ["small"] if small else []
        figures: dict[str, Any] = {"peers": measure_contestants(port, small=small)}
        for kind in ("concurrent", "stall", "import", "tokens", "growth", "flat"):
            print(kind, flush=True)
            figures[kind] = run_measurement(python, "own.py", kind, port, *more)
    figures["machine"] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "langchain-core": find_version(python, "langchain-core"),
    }
    if small:
        print(json.dumps(figures, indent=1))
    else:
        (ROOT / "docs" / "benchmarks.json").write_text(json.dumps(figures, indent=1) + "\n")
        write_page(figures, ROOT / "docs")


if __name__ == "__main__":
    main()
