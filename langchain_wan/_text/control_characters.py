"""Control characters: made visible where text is shown, removed where a service's text is read.

A prompt, a file name or an answer may hold a sequence that sets a terminal's title or its clipboard, that forges a line
of a log, or that shows a sentence in another order than it has. Everything that is shown goes through this module.
"""

from __future__ import annotations

import re

# C0, DEL and C1; the Arabic letter mark, the marks, embeddings, overrides and isolates of text that runs from right to
# left; line and paragraph separators; lone surrogates, which no encoding can write; marks of interlinear annotations.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb"
_CONTROL = re.compile(f"[{_UNSAFE}]")
_CONTROL_IN_LINES = re.compile(f"(?![\n\t])[{_UNSAFE}]")
_BREAKS = re.compile(r"[\t\n\r]+")
# ECMA-48, 5th edition: what introduces a sequence, its parameters, and what ends it; as ESC and a letter, or as C1.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
)


def escape_line(text: str) -> str:
    r"""Return a text as one line whose control characters can be seen.

    >>> escape_line("a\nfox \x1b]0;title\x07")
    'a fox \\x1b]0;title\\x07'
    """
    return _CONTROL.sub(_escape, _BREAKS.sub(" ", text))


def escape_text(text: str) -> str:
    """Return a text with its lines and tabs, whose other control characters can be seen."""
    return _CONTROL_IN_LINES.sub(_escape, text.replace("\r\n", "\n"))


def remove_control(text: str) -> str:
    """Return a foreign text with its lines and tabs, without control characters and the sequences they begin."""
    return _CONTROL_IN_LINES.sub("", _SEQUENCE.sub("", re.sub("\r\n|[\u2028\u2029]", "\n", text)))


def has_control(text: str) -> bool:
    """Say whether a text holds a control character or a line feed."""
    return _CONTROL.search(text) is not None


def _escape(character: re.Match[str]) -> str:
    code = ord(character[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004  the last code of two digits
