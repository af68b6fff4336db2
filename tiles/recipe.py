"""What tiles are made by, as a part of their fingerprints: the code itself, so that no constant or formula is left out.

A tile whose makers changed is built again; where the same bytes come out, it keeps its name, and is not fetched anew.
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import cim.geometry
from cim.geometry.stored_form import content_hash

_PACKAGES = (Path(__file__).parent, Path(cim.geometry.__file__).parent)
# what looks on, keeps and publishes: no byte of a tile comes from it
_NO_MAKERS = frozenset({"check", "files", "outcome", "tilers", "recipe", "faults", "topology"})


def makers() -> list[Path]:
    """Return the modules that make tiles."""
    return [path for package in _PACKAGES for path in sorted(package.rglob("*.py")) if path.stem not in _NO_MAKERS]


@cache
def recipe() -> str:
    """Return the hash of the code that makes tiles: another number or formula anywhere in it gives another one."""
    return recipe_of(path.read_text("utf-8") for path in makers())


def recipe_of(sources: Iterable[str]) -> str:
    """Return the hash of what modules do; comments, docstrings and their layout don't enter it."""
    return content_hash(*(_code(source).encode() for source in sources)).hex()


def _code(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
