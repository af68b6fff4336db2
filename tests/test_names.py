"""Names say what a value is in the field's terms; words that say nothing are refused (docs/contributing/glossary)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cim", "ingest", "tiles", "services", "styles", "sample_data")
MODULES = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py")) if "node_modules" not in p.parts]
GLOSSARY = (ROOT / "docs/contributing/glossary.md").read_text("utf-8")
# words for whatever was found, said, known, kept …: each names a step of the program, none what the value is
VAGUE = frozenset(re.findall(r"`(\w+)`", GLOSSARY.split("refuses them:")[1].split(".")[0]))
ON_THE_WIRE = {("services/http/answers.py", "what")}  # members of answers that clients read by these names


def bound(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each name that a module binds: variables, parameters, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_a_word_that_says_nothing(path: Path) -> None:
    module = str(path.relative_to(ROOT))
    vague = [
        f"{module}:{line} {name}"
        for line, name in bound(ast.parse(path.read_text("utf-8")))
        if name.strip("_") in VAGUE and (module, name) not in ON_THE_WIRE
    ]
    assert vague == [], "another name: what the value is (docs/contributing/glossary.md)"


def test_the_glossary_is_of_this_house() -> None:
    assert len(VAGUE) >= 9
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", GLOSSARY, re.MULTILINE)[2:]
    assert len(rows) > 15
    assert all(re.search(r"[\u4e00-\u9fff]", chinese) for _, chinese in rows)
