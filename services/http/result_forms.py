"""A result in every form that it goes out in: the files of `cim.analysis.engine`, and the mesh that `tiles` makes."""

import json
from pathlib import Path

from cim.analysis.engine.registry import analyses
from cim.analysis.engine.result import Computed
from cim.analysis.engine.result_files import FORMATS, write_computed
from cim.city import City
from cim.errors import BadRequest
from cim.messages import say
from tiles.frame import Frame
from tiles.result_glb import PlacedMesh, result_glb

GLB = ".glb"
SUFFIXES = (*FORMATS, GLB)


def write_result(computed: Computed, path: Path, city: City) -> None:
    """Write a result as the file that its suffix says, its figures beside it where it can't hold them.

    Raises:
        BadRequest: no format has this suffix, or the result has no raster or no bodies, which it needs.

    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadRequest(say("result-can-written", file=path, formats=", ".join(SUFFIXES)))
    if suffix != GLB:
        write_computed(computed, path)
        return
    mesh = mesh_of(computed, city)
    path.write_bytes(mesh.glb)
    summary = computed.summary | {"origin": {"lon": mesh.lon, "lat": mesh.lat, "ellipsoidal_height": mesh.height}}
    path.with_name(f"{path.name}.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1), "utf-8")


def mesh_of(computed: Computed, city: City) -> PlacedMesh:
    """Return the bodies of a result as a mesh in the colours of its analysis."""
    row = analyses().get(computed.analysis)
    return result_glb(computed, row.declaration.legend if row else None, Frame(city))
