"""Generic code knows no analysis by name: what one declares stands in its own module and nowhere else."""

import ast
import re
from pathlib import Path

import pytest

from cim.analysis.engine.declaration import Output
from cim.analysis.engine.registry import analyses

ROOT = Path(__file__).parents[3]
GENERIC_PYTHON = [
    *(p for p in sorted((ROOT / "cim/analysis/engine").glob("*.py")) if p.name != "registry.py"),
    ROOT / "cim/client.py",
    ROOT / "services/ogc/processes.py",
    ROOT / "services/docs/catalog_pages.py",
    ROOT / "services/workers/worker.py",
]
GENERIC_TYPESCRIPT = [ROOT / "services/viewer/src" / name for name in ("tools/analyses.ts", "results.ts", "chart.ts")]
# words of every result, or of the language of forms: no analysis' own
COMMON = {
    "id",
    "name",
    "geometry",
    "layer",
    "at",
    "recorded_at",
    "lon",
    "lat",
    "end",
    "start",
    "where",
    "share",
    "mean",
    "count",
}


def outputs(declared: tuple[Output, ...]) -> set[str]:
    return {o.name for o in declared} | {p.name for o in declared for p in o.parts}


def names() -> set[str]:
    found: set[str] = set()
    for row in analyses().values():
        declared = row.declaration
        fields = declared.parameters.model_fields
        found |= {row.name, *outputs(declared.columns), *outputs(declared.figures)}
        found |= {f.alias or key for key, f in fields.items()}
        found |= {value for o in (*declared.columns, *declared.figures) for value in o.values}
    return found - COMMON


@pytest.mark.parametrize("path", GENERIC_PYTHON, ids=lambda p: p.name)
def test_generic_python_names_no_analysis(path: Path) -> None:
    constants = {n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant)}
    assert not constants & names()


@pytest.mark.parametrize("path", GENERIC_TYPESCRIPT, ids=lambda p: p.name)
def test_the_viewers_form_and_result_name_no_analysis(path: Path) -> None:
    text = path.read_text("utf-8")
    quoted = set(re.findall(r"""["'`]([a-z_0-9]+)["'`]""", text)) | set(re.findall(r"properties\.([a-z_0-9]+)", text))
    assert not quoted & names()
