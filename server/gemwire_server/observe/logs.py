"""Formats the log as lines for people or as JSON objects for programs.

A text never appears in the log. Every line that a call's code logs carries the call's id and method.
"""

import json
import logging
import sys
import time
from contextvars import ContextVar

CURRENT_CALL: ContextVar[tuple[str, str]] = ContextVar("current_call", default=("", ""))
"""(request id, method) of the call whose code runs."""

TEXT = "%(asctime)s %(levelname)s %(name)s %(call)s%(message)s"


def set_up_logging(level: str, form: str) -> None:
    """Has the process log to stderr at a level of `logging`, as "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class TextFormatter(logging.Formatter):
    """Lines with the id of their call, where there is one."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        request_id, _ = CURRENT_CALL.get()
        record.call = f"[{request_id}] " if request_id else ""
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC), level, logger, message; of a call request_id and method; further
    fields that the record has as `fields`; the traceback as exception."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id, method = CURRENT_CALL.get()
        if request_id:
            line |= {"request_id": request_id, "method": method}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
