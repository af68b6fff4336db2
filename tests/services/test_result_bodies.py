"""Bodies that an analysis gave, at every door of the server: the mesh and its place, files, pages, the notebook."""

import httpx
import numpy as np
import pygltflib
import pytest

import cim
from cim.analysis.engine.inputs import LayerBodies
from cim.geometry.body_batch import concatenate, from_sizes
from cim.geometry.measures import volumes
from tests.conftest import Served
from tests.example.results import computed_of, finished, squares
from tests.factory import BOX_FACES, EAST, NORTH, box

COUNT, HEIGHT_M, BASE_M = 7, 9.0, 700.0
BODIES_M3 = 10.0 * 10.0 * HEIGHT_M


@pytest.fixture(scope="module")
def job(sample_city: Served) -> str:
    """Seven squares, the first six of them with a box of 10 × 10 × 9 m in their own order."""
    rows = squares(COUNT, sample_city.store.city.srid)
    faces = [ring for face in BOX_FACES for ring in face]
    boxes = [
        from_sizes(
            np.array(box(EAST + 20.0 * n, NORTH, BASE_M, 10, 10, HEIGHT_M)), np.concatenate(faces), [4] * 6, [1] * 6,
            [6], [0] * 6,
        )
        for n in range(COUNT - 1)
    ]  # fmt: skip
    solids = LayerBodies(rows["id"].to_numpy(object)[: COUNT - 1][::-1], concatenate(boxes[::-1]))
    return finished(sample_city.store, computed_of(rows, bodies=solids))


def test_the_mesh_says_where_it_stands(sample_city: Served, job: str) -> None:
    address, city = f"{sample_city.url}/ogc/jobs/{job}/results", sample_city.store.city
    answer = httpx.get(f"{address}.glb")
    assert answer.headers["content-type"] == "model/gltf-binary"
    lon, lat, height = map(float, answer.headers["content-place"].split(","))
    west, south, east, north = squares(COUNT, city.srid).to_crs(4326).total_bounds
    assert west <= lon <= east
    assert south <= lat <= north
    assert height == pytest.approx(BASE_M + city.height_anomaly_m, abs=0.01)
    document = pygltflib.GLTF2.load_from_bytes(answer.content)
    positions = document.accessors[document.meshes[0].primitives[0].attributes.POSITION]
    size = np.array(positions.max) - positions.min
    assert size == pytest.approx([20.0 * (COUNT - 2) + 10, HEIGHT_M, 10.0], abs=0.6)  # north of the grid isn't north
    assert positions.min[1] == pytest.approx(0, abs=0.01)
    assert httpx.get(f"{address}?f=glb").content == answer.content


def test_pages_have_the_faces_of_their_rows(sample_city: Served, job: str) -> None:
    base = f"{sample_city.url}/ogc/jobs/{job}"
    whole = httpx.get(f"{base}/results").json()
    assert whole["bodies"]["count"] == COUNT - 1
    assert whole["bodies"]["faces"] == 6 * (COUNT - 1)
    items = f"{base}/collections/results/items"
    pages = [httpx.get(f"{items}?limit=1&offset={n}").json()["features"][0] for n in range(COUNT)]
    assert pages == whole["features"]
    for feature in pages[:-1]:
        assert feature["geometry"]["type"] == "MultiPolygon"
        heights = {z for polygon in feature["geometry"]["coordinates"] for *_, z in polygon[0]}
        assert heights == {BASE_M, BASE_M + HEIGHT_M}


def test_the_notebook_has_the_bodies(sample_city: Served, job: str) -> None:
    with cim.connect(sample_city.url) as twin:
        result = twin.result(job)
    assert result.bodies is not None
    assert list(result.bodies.ids) == list(result.gdf["id"][: COUNT - 1])
    np.testing.assert_allclose(volumes(result.bodies.bodies), BODIES_M3)
    first = result.bodies.bodies.vertices[:8]
    assert first.min(axis=0) == pytest.approx([EAST, NORTH, BASE_M], abs=1e-4)


def test_a_result_without_bodies_has_no_mesh(sample_city: Served) -> None:
    job = finished(sample_city.store, computed_of(squares(3, sample_city.store.city.srid)))
    answer = httpx.get(f"{sample_city.url}/ogc/jobs/{job}/results.glb")
    assert answer.status_code == 400
    assert "bodies" in answer.json()["detail"]
    with cim.connect(sample_city.url) as twin:
        assert twin.result(job).bodies is None
