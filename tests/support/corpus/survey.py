"""Try every file of a folder, and print what became of each kind: `python -m tests.support.corpus.survey FOLDER`."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from langchain_wan._media.formats import ImageFileError
from langchain_wan._media.kinds import identify
from tests.support.corpus import judge
from tests.support.corpus.ways import try_all

ENDINGS = re.compile(
    r"\.(?:png|apng|jpe?g|jpe|jfif|gif|bmp|dib|webp|avifs?|hei[cf]|hif|tiff?|ico|cur|icns|psd|svg|jp2|j2k|jxl|pdf|eps|p[bgpn]m|tga)$",
    re.IGNORECASE,
)
COLUMNS = (
    "files",
    "sent as is",
    "converted",
    "enlarged",
    "refused",
    "shown by others",
    "not judged",
    "turned or colour",
    "metadata",
    "untyped",
)


@dataclass
class Finding:
    """What became of one file."""

    name: str
    kind: str = ""
    columns: set[str] = field(default_factory=set)
    reason: str = ""
    notes: list[str] = field(default_factory=list)


def examine(path: Path) -> Finding:
    """Try one file."""
    logging.disable()
    data = path.read_bytes()
    finding = Finding(path.name, columns={"files"})
    try:
        finding.kind = identify(data)
    except ImageFileError as error:
        finding.kind = re.sub(r"^it is (?:an? )?|, not a PNG.*", "", error.problem)
    with tempfile.TemporaryDirectory() as folder:
        trial = try_all(path, Path(folder))
        if trial.untyped:
            finding.columns.add("untyped")
            finding.notes += [f"{way}: {text}" for way, text in trial.untyped.items()]
        saved = {f"saved {end}": image for end, image in trial.saved.items() if end != ".webp"}
        if "Path" not in trial.sent:
            finding.columns.add("refused")
            text = trial.refused.get("Path", "?")
            finding.reason = re.sub(r"^images\[0\] \(.*?\) can't be used(?: as an input image)?: ", "", text)
            if "damaged" in text and any(judge.looks(path)):
                finding.columns.add("shown by others")
                finding.notes.append("refused as damaged, and another decoder shows something")
            if saved:  # too small to be sent, and yet a result may be so
                _judge(finding, path, saved)
            return finding
        sent, notes = trial.sent["Path"]
        finding.columns.add("enlarged" if notes else "sent as is" if sent == data else "converted")
        _judge(finding, path, {"sent": sent, **saved})
        if "Pillow object" in trial.sent:
            _judge(finding, path, {"sent from Pillow": trial.sent["Pillow object"][0]})
        _find_metadata(finding, sent, Path(folder))
    return finding


def _judge(finding: Finding, path: Path, outputs: dict[str, bytes]) -> None:
    opinions = list(judge.looks(path))
    if not opinions:
        finding.columns.add("not judged")
        return
    for name, data in outputs.items():
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(data)
            look = next(judge.looks(Path(file.name)), None)
        delta = 100.0 if look is None else min(judge.difference(opinion, look) for opinion in opinions)
        if delta >= judge.CLOSE:
            finding.columns.add("turned or colour")
            finding.notes.append(f"{name}: delta E {delta:.1f}")


def _find_metadata(finding: Finding, sent: bytes, folder: Path) -> None:
    only = folder / "sent"
    only.mkdir()
    (only / "sent").write_bytes(sent)
    for facts in judge.private_facts(only).values():
        finding.columns.add("metadata")
        finding.notes.append(f"metadata: {', '.join(facts[:5])}")


def describe(findings: list[Finding]) -> Iterator[str]:
    """Yield the lines of a table with a row for each kind, then the reasons, then what is wrong."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for finding in findings:
        rows[finding.kind].update(finding.columns)
        rows["all"].update(finding.columns)
    yield "| kind | " + " | ".join(COLUMNS) + " |"
    yield "|---|" + "---:|" * len(COLUMNS)
    for kind, counts in sorted(rows.items(), key=lambda row: -row[1]["files"]):
        yield f"| {kind} | " + " | ".join(str(counts[column] or "") for column in COLUMNS) + " |"
    reasons = Counter(re.sub(r"\d[\d,]*", "N", finding.reason) for finding in findings if finding.reason)
    yield from ("", "| refused because | files |", "|---|---:|")
    yield from (f"| {reason} | {count} |" for reason, count in reasons.most_common())
    yield ""
    yield from (f"{finding.name}: {'; '.join(finding.notes)}" for finding in findings if finding.notes)


def main(folders: list[str]) -> int:
    """Try every image file below these folders; return 1 if one ended in an untyped error or was sent with metadata."""
    paths = sorted(
        path for folder in folders for path in Path(folder).rglob("*") if path.is_file() and ENDINGS.search(path.name)
    )
    if not paths:
        sys.exit(f"No image files below {', '.join(folders) or 'no folder'}. Try: make corpus DIR=photos")
    with ProcessPoolExecutor(max_workers=int(os.environ.get("CORPUS_JOBS", "2"))) as pool:
        findings = list(pool.map(examine, paths, chunksize=4))
    sys.stdout.write("\n".join(describe(findings)) + "\n")
    return int(any(finding.columns & {"untyped", "metadata"} for finding in findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
