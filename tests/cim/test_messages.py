"""Every sentence that readers and checks say has a Chinese one."""

import ast
from pathlib import Path

import pytest

from cim.messages import in_chinese, report_in_chinese
from ingest.checks import FAULTS

SAYING = {"warn", "refuse", "Refusal", "_refuse", "add"}
INGEST = Path(__file__).parents[2] / "ingest"


def sentences() -> list[str]:
    """Return what the calls that say something say, with X for what differs."""
    found = set()
    for path in sorted(INGEST.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in SAYING:
                    found |= {said for argument in node.args[:3] if (said := written(argument)) and " " in said}
    return sorted(said for said in found if not said.startswith(("line X", "point X")))


def written(node: ast.expr) -> str | None:
    """Return a literal text, with X in the place of what is computed."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    return None


@pytest.mark.parametrize("said", [*sentences(), *(fault.warning for fault in FAULTS), *(f.flag for f in FAULTS)])
def test_what_is_said_is_said_in_chinese(said: str) -> None:
    told = in_chinese(said)
    assert told != said
    assert any("\u4e00" <= letter <= "\u9fff" for letter in told)


def test_what_differs_keeps_its_place() -> None:
    told = in_chinese("a Point has no place in the layer road_segment of MultiLineStrings")
    assert told == "图层 road_segment 只收 MultiLineString，不收 Point"


def test_what_nobody_translated_stays() -> None:
    assert in_chinese("the sky is blue") == "the sky is blue"


def test_a_report_is_told_whole() -> None:
    file = {
        "error": None,
        "warnings": [{"warning": "inside out: faces turned around", "count": 1, "ids": ["a"]}],
        "reasons": {"no geometry": 2},
        "refused_ids": {"no geometry": ["b", "c"]},
    }
    told = report_in_chinese({"files": [file], "load": 3})["files"][0]
    assert told["reasons"] == {"没有几何图形": 2}
    assert told["refused_ids"] == {"没有几何图形": ["b", "c"]}
    assert told["warnings"][0]["warning"] == "体内外翻转：已将面反向"
