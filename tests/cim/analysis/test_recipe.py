"""An analysis is one file and one row: three of them, added from outside, come out at every door by themselves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from PIL import Image

from cim.analysis.engine import registry
from cim.analysis.engine.keep import keep, read_kept
from cim.analysis.engine.result import UNKNOWN, Computed
from cim.analysis.engine.result_files import FORMATS, picture, write_computed
from cim.analysis.engine.run import analyse
from cim.errors import BadRequest
from services.docs.catalog_pages import analyses_page
from services.ogc.processes import declared_output
from tests.conftest import Served
from tests.example.analyses import ROWS

NAMES = [row.name for row in ROWS]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rows in the registry, as an entry point `cim.analyses` brings them."""
    monkeypatch.setattr(registry, "ANALYSES", (*registry.ANALYSES, *ROWS))
    registry.analyses.cache_clear()
    yield
    monkeypatch.undo()
    registry.analyses.cache_clear()


def computed(served: Served, name: str, **parameters: Any) -> Computed:
    example = registry.analysis(name).declaration.example
    with served.store.connect() as connection, connection.cursor() as cursor:
        return analyse(cursor, served.store, name, {**example, **parameters})


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_is_described_kept_and_documented(sample_city: Served, name: str) -> None:
    result = computed(sample_city, name)
    assert result.check.passed
    json.dumps(result.as_json(), allow_nan=False)
    described = declared_output(registry.analysis(name).declaration, "zh")
    assert described.legend
    assert f"`{name}`" in analyses_page()
    again = read_kept(sample_city.store.settings, keep(sample_city.store.settings, result))
    assert again.dumps() == result.dumps()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_it_is_written_in_every_form_it_has(sample_city: Served, name: str, suffix: str, tmp_path: Path) -> None:
    result = computed(sample_city, name)
    path = tmp_path / f"result{suffix}"
    if suffix == ".tif" and result.raster is None:
        with pytest.raises(BadRequest, match="raster"):
            write_computed(result, path)
        return
    write_computed(result, path)
    if suffix == ".tif":
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(1), result.raster.cells)  # type: ignore[union-attr]
            assert file.crs.to_epsg() == sample_city.store.city.srid
    elif suffix in (".gpkg", ".geojson", ".json"):
        rows = gpd.read_file(path)
        assert len(rows) == len(result.gdf)


def test_a_raster_is_the_ground_that_lies_there_and_a_picture(sample_city: Served) -> None:
    result = computed(sample_city, "slope")
    raster = result.raster
    assert raster is not None
    with rasterio.open(sample_city.folder / "terrain_town.tif") as file:
        window = file.window(*rasterio.transform.array_bounds(*raster.cells.shape, raster.transform))
        heights = file.read(1, window=window, boundless=True, fill_value=np.nan)
    down, right = np.gradient(heights.astype(float), raster.cell_m)
    expected = np.degrees(np.arctan(np.hypot(down, right)))
    inner = (slice(1, -1), slice(1, -1))
    assert np.nanmax(np.abs(expected[inner] - raster.cells[inner])) < 0.2
    legend = registry.analysis("slope").declaration.legend
    assert legend is not None
    png, (west, south, east, north) = picture(raster, legend)
    assert west < east
    assert south < north
    image = np.asarray(Image.open(__import__("io").BytesIO(png)))
    assert image.shape[2] == 4
    assert len(np.unique(image[image[..., 3] > 0][:, :3], axis=0)) == 5


def test_outside_the_terrain_the_slope_is_unknown_and_the_check_isnt_passed(sample_city: Served) -> None:
    result = computed(sample_city, "slope", east=700_000.0)
    document = result.as_json()
    assert document["steepest_deg"] is None
    assert document[UNKNOWN]["steepest_deg"]["zh"]
    assert document["check"]["passed"] is None
    assert result.raster is None


@pytest.mark.parametrize("name", [row.name for row in registry.ANALYSES])
def test_a_replay_gives_the_same_bytes_after_later_edits(changing_city: Served, name: str, tmp_path: Path) -> None:
    from ingest.delivery.declared import Declared
    from ingest.load.pipeline import ingest

    first = computed(changing_city, name)
    layers = {row["layer"] for row in first.computed_from["datasets"]}
    for layer in layers:
        path = tmp_path / f"{layer}.geojson"
        square = [[113.58, 37.86], [113.581, 37.86], [113.581, 37.861], [113.58, 37.861], [113.58, 37.86]]
        feature = {"type": "Feature", "id": f"new {name}", "properties": {"people": 5}, "geometry": {
            "type": "Polygon", "coordinates": [square]}}  # fmt: skip
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf-8")
        ingest(changing_city.store, [path], Declared(layer=layer, vertical_datum="city"))
    again = computed(changing_city, name, **first.computed_from["parameters"])
    assert again.dumps() == first.dumps()
