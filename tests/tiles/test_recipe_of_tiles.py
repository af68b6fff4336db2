"""What makes a tile's bytes is in its fingerprint: each constant and formula, and no comment."""

import ast
from pathlib import Path

import pytest

from tiles.recipe import makers, recipe, recipe_of

ROOT = Path(__file__).parents[2]
SOURCES = {path: path.read_text("utf-8") for path in makers()}


def changed_numbers() -> list[tuple[Path, int, str]]:
    """Each number of each module that makes tiles: where it stands, and the module with another one in its place."""
    changed = []
    for path, source in SOURCES.items():
        lines = source.splitlines(keepends=True)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.lineno == node.end_lineno:
                line = lines[node.lineno - 1].encode()
                other = line[: node.col_offset] + b"12345.5" + line[node.end_col_offset :]
                changed.append(
                    (path, node.lineno, "".join([*lines[: node.lineno - 1], other.decode(), *lines[node.lineno :]]))
                )
    return changed


def test_every_number_counts() -> None:
    before = {path: recipe_of([source]) for path, source in SOURCES.items()}
    numbers = changed_numbers()
    assert len(numbers) > 500
    assert {path.stem for path, *_ in numbers} >= {
        "textures",
        "levels",
        "gltf",
        "quantized_mesh",
        "points",
        "terrain",
        "canonical",
    }
    assert [(p.name, line) for p, line, source in numbers[::7] if recipe_of([source]) == before[p]] == []


def test_comments_and_docstrings_do_not() -> None:
    source = SOURCES[ROOT / "tiles/levels.py"]
    commented = "# a word\n" + source.replace('"""', '"""Said otherwise: ', 1)
    assert commented != source
    assert recipe_of([commented]) == recipe_of([source])


def test_the_recipe_is_of_all_of_them() -> None:
    assert recipe() == recipe_of(SOURCES.values())


@pytest.mark.parametrize(
    "path", [p for package in ("tiles", "services") for p in (ROOT / package).rglob("*.py")], ids=str
)
def test_the_height_anomaly_is_added_in_one_place(path: Path) -> None:
    """`tiles/frame.py` alone makes ellipsoidal heights of the city's."""
    if path != ROOT / "tiles/frame.py":
        names = {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
        assert not names & {"height_anomaly_m", "_anomaly"}
        assert "Anomaly" not in {n.id for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Name)}
