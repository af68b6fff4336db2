"""The direction of imports is the architecture: `cim ← ingest`, `cim ← tiles`, `services` imports all."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "cim": {"cim"},
    "ingest": {"cim", "ingest"},
    "tiles": {"cim", "tiles"},
    "styles": {"cim", "styles"},
    "sample_data": {"cim", "sample_data"},
    "services": {"cim", "ingest", "tiles", "styles", "sample_data", "services"},
}
OURS = set(MAY_IMPORT)
MODULES = [p for package in MAY_IMPORT for p in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_along_the_data_flow(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    packages = {name.split(".")[0] for name in imported(path)} & OURS
    assert packages <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", sorted((ROOT / "cim/analysis").rglob("*.py")), ids=lambda p: p.name)
def test_analyses_open_no_connection(path: Path) -> None:
    assert not {n for n in imported(path) if n.startswith(("psycopg", "cim.store", "cim.cluster"))}


def test_only_the_store_opens_connections() -> None:
    importers = {str(p.relative_to(ROOT)) for p in MODULES if "psycopg" in {n.split(".")[0] for n in imported(p)}}
    # pgtable composes statements for other databases, through a connection that the store opens
    assert importers <= {
        "cim/store/connection.py",
        "cim/store/cluster.py",
        "cim/store/merge.py",
        "cim/store/binary_copy.py",
        "ingest/sources/postgres.py",
    }
