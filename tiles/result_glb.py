"""The bodies of an analysis' result as one GLB, in the colours of its legend, about a place on the globe.

It is east, north and up about that place as glTF has them (y up, z south), so that any program shows it upright; where
the place is stands in the file (`asset.extras`) and beside it.
"""

from dataclasses import dataclass

import numpy as np

from cim.analysis.engine.declaration import UNKNOWN_COLOR, Legend
from cim.analysis.engine.legend import row_colors
from cim.analysis.engine.result import Computed
from cim.errors import BadRequest
from cim.geometry.body_batch import Float
from cim.messages import say
from tiles.encode.gltf import encode_mesh
from tiles.frame import Frame
from tiles.levels import WHITE, Cut
from tiles.plan.quadtree import east_north_up, ecef, inverse_rigid

DECIMALS_DEG, DECIMALS_M = 9, 3  # to which the place is said, and the mesh is about exactly that


@dataclass(frozen=True)
class PlacedMesh:
    """A GLB, and where on the globe its origin stands: degrees, and metres above the ellipsoid."""

    glb: bytes
    lon: float
    lat: float
    height: float


def result_glb(computed: Computed, legend: Legend | None, frame: Frame) -> PlacedMesh:
    """Return the bodies of a result, each with its id and the colour of its row; grey where that is unknown.

    Args:
        computed: its bodies are in the city's CRS and vertical datum.
        legend: that the analysis declares.
        frame: of the city; ellipsoidal height = the city's + the height anomaly.

    Raises:
        BadRequest: the result has no bodies.

    """
    solids = computed.bodies
    if solids is None or not len(solids.ids):
        raise BadRequest(say("gave-no-bodies", analysis=computed.analysis))
    bodies = solids.bodies
    lon, lat, height = frame.globe(bodies.vertices)
    place = (
        round(float(lon.min() + lon.max()) / 2, DECIMALS_DEG),
        round(float(lat.min() + lat.max()) / 2, DECIMALS_DEG),
        round(float(height.min()), DECIMALS_M),
    )
    to_local = inverse_rigid(east_north_up(place[0], place[1]))
    local = ecef(lon, lat, height) @ to_local[:3, :3].T + to_local[:3, 3] - np.array([0.0, 0.0, place[2]])
    cut = Cut(bodies, local)
    colors = _colors(computed, legend, solids.ids)[bodies.body_of_face].astype(np.float32)
    primitive = cut.primitive(~cut.degenerate, "Result", WHITE, colors=colors)
    origin = {"lon": place[0], "lat": place[1], "ellipsoidal_height": place[2]}
    return PlacedMesh(encode_mesh(primitive, [str(i) for i in solids.ids], origin), *place)


def _colors(computed: Computed, legend: Legend | None, ids: np.typing.NDArray[np.object_]) -> Float:
    """Return the colour of each body, (B, 4) linear RGB and opacity (IEC 61966-2-1)."""
    names = [str(i) for i in computed.gdf["id"]] if "id" in computed.gdf else []
    color_of = dict(zip(names, row_colors(computed, legend), strict=False))
    texts = [color_of.get(str(i), UNKNOWN_COLOR) for i in ids]
    srgb = np.array([[int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)] for text in texts])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.column_stack([linear, np.ones(len(linear))])
