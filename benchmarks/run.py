"""`make bench`: measure this package beside others against a server on this machine, and write it down.

The figures go to `docs/benchmarks.json`, the page to `docs/benchmarks.md`, the plots beside its pictures. `small` only
tries whether everything works, and asserts counts and bytes.
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
LONGEST = 240  # seconds for one measurement
REPEATED = 3  # times, each in a new process; the median counts


@contextmanager
def server() -> Iterator[str]:
    """Run the server; its port."""
    command = [sys.executable, str(HERE / "server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101  for the reader of types
        yield process.stdout.readline().strip()
        process.stdin.close()


def python_of(folder: str) -> Path | None:
    """Return the Python of a contestant, installed if need be; None where that fails."""
    if not folder:
        return Path(sys.executable)
    python = VENVS / folder / "bin" / "python"
    if not python.exists():
        venv.create(VENVS / folder, with_pip=True)
    ready = VENVS / folder / ".ready"
    if not ready.exists():
        command = [str(python), "-m", "pip", "install", "--quiet", "httpx", "pillow", *REQUIRES[folder]]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return None
        ready.touch()
    return python


def told(python: Path, program: str, *arguments: str) -> Any:
    """Run a measurement and return what it tells; the reason, if it can't."""
    command = [str(python), str(HERE / program), *arguments]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False, cwd=HERE)
    except subprocess.TimeoutExpired:
        return f"took more than {LONGEST} s"
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        said = [line for line in ran.stderr.splitlines() if "Error" in line]
        return f"failed: {said[-1].partition(':')[0].rpartition('.')[2][:40]}" if said else "failed"
    return json.loads(lines[-1])


def median(runs: list[Any]) -> Any:
    """Return the median of each figure of several runs."""
    good = [run for run in runs if isinstance(run, dict)]
    if not good:
        return runs[0]
    found = {}
    for name in good[0]:
        values = [run[name] for run in good if name in run]
        numbers = all(isinstance(value, int | float) for value in values)
        found[name] = sorted(values)[len(values) // 2] if numbers else median(values)
    return found


def version_of(python: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    statement = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([str(python), "-c", statement], capture_output=True, text=True, check=False).stdout.strip()


def peers(port: str, *, small: bool) -> dict[str, Any]:
    """Measure each contestant, in rounds that take turns."""
    kinds = ("cpu", "failing") if small else ("cpu", "memory", "failing")
    chosen = [one for one in CONTESTANTS if not small or not one[3]]
    pythons = {folder: python_of(folder) for folder in {one[3] for one in chosen}}
    found: dict[str, Any] = {one[0]: {"does": one[4], **{kind: [] for kind in kinds}} for one in chosen}
    for _ in range(1 if small else REPEATED):
        for name, _function, _options, folder, _does in chosen:
            python = pythons[folder]
            for kind in kinds:
                if kind != "failing" or not found[name][kind]:
                    print(name, kind, flush=True)
                    result = (
                        "could not be installed" if python is None else told(python, "measure.py", kind, name, port)
                    )
                    found[name][kind].append(result)
    for name, _function, _options, folder, _does in chosen:
        python = pythons[folder]
        package = name.split(",")[0].split(" ")[0 if "httpx" not in name else 1]
        package = {"openai": "openai", "pydantic-ai": "pydantic-ai-slim"}.get(package, package)
        found[name]["version"] = "" if python is None else version_of(python, package)
        for kind in kinds:
            found[name][kind] = median(found[name][kind])
    return found


def main() -> None:
    """Measure, check what can be checked, and write the page."""
    small = "small" in sys.argv
    with server() as port:
        python = Path(sys.executable)
        more = ["small"] if small else []
        figures: dict[str, Any] = {"peers": peers(port, small=small)}
        for kind in ("concurrent", "stall", "import", "tokens", "growth", "flat"):
            print(kind, flush=True)
            figures[kind] = told(python, "own.py", kind, port, *more)
    figures["machine"] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "langchain-core": version_of(python, "langchain-core"),
    }
    if small:
        print(json.dumps(figures, indent=1))
    else:
        (ROOT / "docs" / "benchmarks.json").write_text(json.dumps(figures, indent=1) + "\n")
        write_page(figures, ROOT / "docs")


if __name__ == "__main__":
    main()
