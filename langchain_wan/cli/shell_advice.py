"""The advice of errors as a person follows it in a shell: commands and options instead of Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

DEFAULT_FOLDER = Path("wan-images")

# What errors advise in Python, and what a shell has for it. A test looks at what the command prints for each cause.
_PHRASES = (
    (r" or pass api_key=\.\.\..*", ". To try without a key, run `langchain-wan generate PROMPT --sandbox`."),
    (r", or pass its price: .* an image", ""),
    (r"Wait, lower max_concurrency, or set a rate_limiter", "Wait, or lower --concurrency"),
    (r" \(setting `\w+`\)", ""),
    (r"; set allowed_networks=.* of this machine", ""),
    (r" For a file, use Path\(.*\)\.", ""),
    (r", or set send_references=\"url\"", ""),
    (r"Set send_references=\"auto\", or an on_image function .* URLs\.", "Give the image as a public URL."),
    (
        r"Pass the store they are in, as in ImageResult\.from_message\(.*?\)\.",
        "Name the folder of their store with --out.",
    ),
    (r"\bread\(\) returns its bytes as they came", "The store has it as it came"),
    (r"bytes, a Path, a PIL image or a GeneratedImage", "or a file"),
    (r"a Path, bytes, or a public URL", "a file, or a public URL"),
    (r"\{?\bbase_url\b\}?", "AISA_BASE_URL"),
    (r"Raise the budget", "Raise --max-usd"),
    (r"\bmax_usd\b", "--max-usd"),
    (r"\bthen call (?=store\.resolve)", "then run "),
)


def to_shell_advice(text: str, folder: Path) -> str:
    """Return the text of an error, in one line, with steps that can be pasted into a shell.

    Args:
        text: The text, which may advise a step in Python.
        folder: The store that the command works with; a step names it unless it is the default.
    """
    text = " ".join(text.split())
    for python, shell in _PHRASES:
        text = re.sub(python, shell, text)
    text = re.sub(r"store\.resolve\('(.+?)', '(not_)?charged'\)", _translate_resolve(folder), text)
    return re.sub(r"\bresume\(\)", f"`langchain-wan resume{name_store(folder)}`", text)


def name_store(folder: Path) -> str:
    """Return the option that names the store of a command, or nothing for the default."""
    return "" if folder == DEFAULT_FOLDER else f" --out {shlex.quote(str(folder))}"


def name_resolve(operation: str, outcome: Literal["charged", "not-charged"], folder: Path) -> str:
    """Return the command that settles an operation; or with `--all`, every uncertain one."""
    return f"`langchain-wan resolve {shlex.quote(operation)} --{outcome}{name_store(folder)}`"


def name_save(images: Sequence[str], folder: Path) -> str:
    """Return the command that writes images of the store into the current folder."""
    return f"`langchain-wan save {' '.join(images)} --to .{name_store(folder)}`"


def name_redo(arguments: Sequence[str], numbers: Sequence[int]) -> str:
    """Return the command that pays once more for lines of a batch.

    Args:
        arguments: Those with which the batch was run.
        numbers: The numbers of the lines; those of an earlier `--redo` are left out.
    """
    words = list[str]()
    for word, before in zip(arguments, ("", *arguments), strict=False):
        if not word.startswith("--redo") and before != "--redo":
            words.append(word)
    redo = [word for number in numbers for word in ("--redo", str(number))]
    return f"`langchain-wan {shlex.join([*words, *redo])}`"


def _translate_resolve(folder: Path) -> Callable[[re.Match[str]], str]:
    return lambda step: name_resolve(step[1], "not-charged" if step[2] else "charged", folder)
