"""The direction of imports is the architecture: `cim ← ingest`, `cim ← tiles`, `services` imports all.

Within them packages stand on floors: a package imports those that stand before it here, and none after it.
"""

import ast
from collections import defaultdict
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
FLOORS = (
    *(
        "cim.errors",
        "cim.version",
        "cim.messages",
        "cim.clock",
        "cim.config",
        "cim.city",
        "cim.concurrency",
    ),
    *("cim.catalog", "cim.reference", "cim.geometry", "cim.features", "cim.store", "cim.access", "cim.loads"),
    *("cim.client", "cim.jobs", "cim.read", "cim.write", "cim.reconstruction", "cim.analysis.engine"),
    *("cim.analysis.network", "cim.analysis.planning", "cim.analysis.grid", "cim.analysis.parking"),
    "cim.analysis.emergency",
    *("ingest.delivery", "ingest.formats.vector", "ingest.formats.coverages", "ingest.formats.drawings"),
    *("ingest.formats.city_models", "ingest.formats.scenes", "ingest.load", "ingest.sources", "ingest.reconstruct"),
    *("tiles.plan", "tiles.encode", "tiles"),
    *("styles", "sample_data"),
    *("services.http", "services.ogc", "services.app", "services.workers", "services.cli", "services.docs"),
)
# what the families of formats share lies beside them
GROUND_OF = {
    f"ingest.formats.{name}" for name in ("contract", "readers", "parts", "xml_stream", "elsewhere", "confined")
}
MOST_MODULES = 20  # of a package
# one noun at two steps of the flow: read and tiled, read and written, put in and asked for
SHARED_NAMES = {"errors", "terrain", "cityjson", "observations", "uploads", "roofs", "read"}

OURS = set(MAY_IMPORT)
MODULES = [p for package in MAY_IMPORT for p in sorted((ROOT / package).rglob("*.py")) if "node_modules" not in p.parts]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The modules that a file imports; `from package import module` is its module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def floor_of(name: str) -> int | None:
    """How high the package of a module, or of a name in it, stands."""
    if any(name == g or name.startswith(f"{g}.") for g in GROUND_OF):
        return FLOORS.index("ingest.delivery")
    above = [n for n, floor in enumerate(FLOORS) if name == floor or name.startswith(f"{floor}.")]
    new_family = FLOORS.index("cim.analysis.parking") if name.startswith("cim.analysis.") else None
    return max(above, key=lambda n: len(FLOORS[n]), default=new_family)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_along_the_data_flow(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    packages = {name.split(".")[0] for name in imported(path)} & OURS
    assert packages <= MAY_IMPORT[package]


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.name not in ("__init__.py", "__main__.py")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_import_leads_upward(path: Path) -> None:
    floor = floor_of(name_of(path))
    assert floor is not None, f"{path}: its package stands on no floor"
    upward = {n for n in imported(path) if n.split(".")[0] in OURS and (floor_of(n) or 0) > floor}
    assert not upward


def test_a_package_is_one_noun_of_a_size_to_survey() -> None:
    sizes: dict[str, int] = defaultdict(int)
    for path in MODULES:
        sizes[str(path.parent.relative_to(ROOT))] += path.name != "__init__.py"
    assert {package: n for package, n in sizes.items() if n > MOST_MODULES} == {}


def test_a_name_tells_one_module() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        if path.name not in ("__init__.py", "__main__.py"):
            places[path.stem].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1 and name not in SHARED_NAMES} == {}


@pytest.mark.parametrize("path", sorted((ROOT / "cim/analysis").rglob("*.py")), ids=lambda p: p.name)
def test_analyses_open_no_connection(path: Path) -> None:
    opens = ("psycopg", "cim.store.cluster", "cim.store.connection.connect", "cim.store.connection.open_store")
    allowed = ("psycopg", "cim.store") if "engine" not in path.parts else opens
    assert not {n for n in imported(path) if n.startswith(allowed)}


def test_only_the_store_opens_connections() -> None:
    importers = {str(p.relative_to(ROOT)) for p in MODULES if "psycopg" in {n.split(".")[0] for n in imported(p)}}
    # ingest/sources/postgres.py composes statements for other databases, through a connection that the store opens
    store = {f"cim/store/{name}.py" for name in ("connection", "cluster", "merge", "binary_copy")}
    assert importers <= store | {"ingest/sources/postgres.py"}
