"""Small city models made in the tests."""

import json
import math
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import ArrayLike
from rasterio.transform import from_bounds

ROOT = Path(__file__).parents[1]
Vertex = tuple[float, float, float]

# a place in the middle of Yangquan, EPSG:4547 east, north
EAST, NORTH = 463_000.0, 4_192_000.0


def box(x: float, y: float, z: float, width: float, depth: float, height: float) -> list[Vertex]:
    low = [(x, y, z), (x + width, y, z), (x + width, y + depth, z), (x, y + depth, z)]
    return low + [(a, b, z + height) for a, b, _ in low]


BOX_FACES = [[[3, 2, 1, 0]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]]]
BOX_CLASSES = ["GroundSurface", "RoofSurface", *["WallSurface"] * 4]


def cityjson(objects: dict[str, dict[str, Any]], crs: str = "EPSG/0/4547", **metadata: Any) -> dict[str, Any]:
    """A CityJSON 2.0 document of boxes; an object gives `box`, and what else it says of itself."""
    vertices: list[list[Any]] = []
    city_objects: dict[str, Any] = {}
    for identifier, said in objects.items():
        made = {"type": said.get("type", "Building"), "attributes": said.get("attributes", {})}
        made |= {key: said[key] for key in ("parents", "children") if key in said}
        if "box" in said:
            base = len(vertices)
            corners = box(*said["box"])
            vertices += [[round(1000 * c) if math.isfinite(c) else None for c in v] for v in corners]
            faces = [[[i + base for i in ring] for ring in face] for face in BOX_FACES]
            made["geometry"] = [
                {
                    "type": "Solid",
                    "lod": said.get("lod", "2"),
                    "boundaries": [faces],
                    "semantics": {"surfaces": [{"type": c} for c in BOX_CLASSES], "values": [list(range(6))]},
                }
            ]
        city_objects[identifier] = made
    return {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [0.001] * 3, "translate": [0, 0, 0]},
        "metadata": {"referenceSystem": f"https://www.opengis.net/def/crs/{crs}", **metadata},
        "CityObjects": city_objects,
        "vertices": vertices,
    }


def write_cityjson(path: Path, objects: dict[str, dict[str, Any]], **options: Any) -> Path:
    path.write_text(json.dumps(cityjson(objects, **options)), "utf-8")
    return path


def write_cityjsonseq(path: Path, objects: dict[str, dict[str, Any]], **options: Any) -> Path:
    """The same content as CityJSONSeq, one feature a line."""
    lines = [json.dumps(cityjson({}, **options))]
    for identifier, said in objects.items():
        document = cityjson({identifier: said})
        feature = {"type": "CityJSONFeature", "id": identifier}
        lines.append(json.dumps(feature | {k: document[k] for k in ("CityObjects", "vertices")}))
    path.write_text("\n".join(lines), "utf-8")
    return path


def write_terrain(path: Path, heights: ArrayLike, box: tuple[float, float, float, float], crs: str) -> Path:
    """A GeoTIFF of (rows, columns) heights over a box."""
    values = np.asarray(heights, np.float32)
    rows, columns = values.shape
    transform = from_bounds(*box, columns, rows)
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=columns, count=1, dtype="float32", crs=crs, transform=transform
    ) as file:
        file.write(values, 1)
    return path


def khronos_findings(glbs: Iterable[Path]) -> list[Any]:
    """Return what the Khronos glTF validator finds wrong in GLBs; skips the test where it isn't installed."""
    node = ROOT / "tests/node"
    if not (node / "node_modules").is_dir():
        pytest.skip("the Khronos validator isn't installed: make clients")
    command = [ROOT / "setup/node", "node", node / "validate.mjs"]
    paths = "\n".join(map(str, glbs))
    done = subprocess.run(command, input=paths, capture_output=True, text=True, check=True)
    *findings, version = [json.loads(line) for line in done.stdout.splitlines()]
    assert "validator" in version
    return findings
