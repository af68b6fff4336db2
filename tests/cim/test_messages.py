"""Every sentence that readers and checks say has a Chinese one."""

import ast
from pathlib import Path

import pytest

from cim.geometry.faults import FAULTS
from cim.messages import in_chinese, report_in_chinese

SAYING = {"warn", "refuse", "Refusal", "_refuse", "add", "append", "Header", "_Placing"}
PACKAGE = Path(__file__).parents[2]
FOR_OTHERS = {
    "feeds.py",
    "postgres.py",
    "reconstruct.py",
    "report.py",
}  # in English, for who isn't a planner
FILES = [
    *(PACKAGE / "ingest").rglob("*.py"),
    PACKAGE / "cim/reference/crs.py",
    PACKAGE / "cim/reference/local_system.py",
    PACKAGE / "cim/reference/geocentric.py",
    PACKAGE / "cim/geometry/faults.py",
]


def sentences() -> list[str]:
    """Return what is raised, and what the calls that say something say, with X for what differs."""
    found = set()
    for path in sorted(FILES):
        if path.name not in FOR_OTHERS:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                found |= {said for part in saying(node) if (said := written(part)) and " " in said}
    return sorted(said for said in found if said.strip("X :;.,'`·()/=") and not said.startswith(UNSAID))


UNSAID = ("line X", "point X", "X, table X", " AND ", "X = X", "X IS NULL")


def saying(node: ast.AST) -> list[ast.expr]:
    """Return the expressions of a node that may be a sentence which is said."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return node.exc.args[:1]
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        warnings = [keyword.value for keyword in node.keywords if keyword.arg == "warnings"]
        within = [part for value in warnings for part in ast.walk(value) if isinstance(part, ast.expr)]
        return [*node.args[:3], *within] if name in SAYING else []
    if isinstance(node, ast.Assign) and any("warning" in getattr(target, "id", "") for target in node.targets):
        return [part for part in ast.walk(node.value) if isinstance(part, ast.expr)]
    return []


def written(node: ast.expr) -> str | None:
    """Return a literal text, with X in the place of what is computed."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{written(node.left) or 'X'}{written(node.right) or 'X'}"
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


def test_what_a_sentence_quotes_is_told_in_chinese_too() -> None:
    said = (
        "a.shp: the data would land at longitude 1.0000 to 2.0000, latitude 3.0000 to 4.0000, 900 km outside "
        "the extent of 阳泉; is it another city, or another crs?"
    )
    told = in_chinese(said)
    assert "在 阳泉的范围 之外 900 公里；是否为其他城市" in told
    assert in_chinese("HATCH can't be read: without a boundary") == "无法读取 HATCH：没有边界"
