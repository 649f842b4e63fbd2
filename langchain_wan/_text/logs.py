"""The log of the package, whose records hold no control characters."""

from __future__ import annotations

import logging

from langchain_wan._text.control_characters import escape_line, escape_text


class _Escaping(logging.Filter):
    """Escapes what a record quotes: its arguments, and the traceback of an error that somebody else raised."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                escape_line(str(value)) if isinstance(value, str | BaseException) else value for value in record.args
            )
        if record.exc_info:
            record.exc_text = escape_text(logging.Formatter().formatException(record.exc_info))
        return True


logger = logging.getLogger("langchain_wan")
logger.addFilter(_Escaping())
