"""What the program says to a planner, in Chinese.

Sentences are written in English where they arise; `messages.yaml` has their Chinese, with `{}` for what differs.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def _sentences() -> tuple[Mapping[str, str], list[tuple[re.Pattern[str], str]]]:
    """Return the sentences without places, and those with, as patterns, the longest first."""
    known: Mapping[str, str] = yaml.safe_load(files("cim").joinpath("messages.yaml").read_text("utf-8"))
    fixed = {english: chinese for english, chinese in known.items() if "{}" not in english}
    shapes = sorted((english for english in known if "{}" in english), key=len, reverse=True)
    patterns = [(re.compile("(.*?)".join(map(re.escape, e.split("{}"))), re.DOTALL), known[e]) for e in shapes]
    return fixed, patterns


def in_chinese(said: str) -> str:
    """Return a sentence in Chinese, and what it quotes; what nobody has translated stays as it is."""
    fixed, patterns = _sentences()
    if said in fixed:
        return fixed[said]
    for pattern, chinese in patterns:
        if match := pattern.fullmatch(said):
            return chinese.format(*map(in_chinese, match.groups()))
    return said


def in_language(said: str, language: str) -> str:
    """Return a sentence of the program in a language, zh or en."""
    return in_chinese(said) if language == "zh" else said


def report_in_chinese(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a load (`LoadReport.as_json`) with what it says of each file in Chinese."""
    return report | {"files": [_file_in_chinese(file) for file in report.get("files", [])]}


def _file_in_chinese(file: dict[str, Any]) -> dict[str, Any]:
    return file | {
        "error": file.get("error") and in_chinese(file["error"]),
        "warnings": [w | {"warning": in_chinese(w["warning"])} for w in file.get("warnings", [])],
        "reasons": {in_chinese(reason): count for reason, count in file.get("reasons", {}).items()},
        "refused_ids": {in_chinese(reason): ids for reason, ids in file.get("refused_ids", {}).items()},
    }
