"""Parameters of analyses as people type them: KEY=VALUE, where a value is a number, text, JSON or a file."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cim.errors import BadRequest


def read_parameters(given: Sequence[str]) -> dict[str, Any]:
    """Return parameters by name.

    Raises:
        BadRequest: one isn't KEY=VALUE, or its file can't be read.

    """
    values: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadRequest(f"--param {text}: KEY=VALUE")
        values[key] = _value(value)
    return values


def _value(text: str) -> Any:
    if text.startswith("@"):
        return _file(Path(text[1:]))
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _file(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]
        return json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as fault:
        raise BadRequest(f"--param @{path}: {fault}") from fault
