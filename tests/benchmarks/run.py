"""`make bench`: what the hot paths do a second, printed. Never a timed test: machines differ."""

import concurrent.futures
import os
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from cim.config import Settings
from cim.store.connection import Store, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from sample_data.terrain import EAST, NORTH
from tests.benchmarks.town import SPACING_M, write_footprints, write_sequence
from tests.conftest import serving
from tiles.build import tile_layer

COUNT, FOOTPRINTS = 20_000, 100_000
HEIGHTS = Declared(vertical_datum="city")


def main() -> None:
    """Print rates, and beside them what a naive first try gave."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        settings = Settings(state=folder / "state")
        initialise(settings)
        with open_store(settings) as store:
            _loads(store, folder)
            _tiles(store)
            _pages(store, settings)


def _said(what: str, rate: float, unit: str, naive: float) -> None:
    print(f"{what:<46} {rate:>9,.0f} {unit}   {rate / naive:>5.1f} × a naive first try")  # noqa: T201


def _loads(store: Store, folder: Path) -> None:
    sequence = write_sequence(folder / "building.city.jsonl", COUNT)
    started = time.perf_counter()
    assert ingest(store, [sequence], HEIGHTS).files[0].loaded == COUNT
    _said("CityJSONSeq, LoD2, in", COUNT / (time.perf_counter() - started), "buildings/s", 1400)
    footprints = write_footprints(folder / "building.gpkg", FOOTPRINTS)
    started = time.perf_counter()
    assert ingest(store, [footprints], HEIGHTS).files[0].loaded == FOOTPRINTS
    _said("footprints → LoD1, in", FOOTPRINTS / (time.perf_counter() - started), "buildings/s", 1800)


def _tiles(store: Store) -> None:
    layer = store.catalog.layers["building"]
    with store.connect() as connection:
        connection.execute("DELETE FROM twin.building WHERE id LIKE 'F%'")
    started = time.perf_counter()
    outcome = tile_layer(store, layer)
    _said(
        f"LoD2 out to {outcome.built} tiles, four levels", COUNT / (time.perf_counter() - started), "buildings/s", 740
    )
    with store.connect() as connection:
        connection.execute(
            "INSERT INTO twin.building (valid, id, geom, content, class_code, cim_level, dataset, load)"
            " SELECT valid, 'G' || id, geom, content, class_code, cim_level, dataset, load FROM twin.building"
        )
        connection.execute("ANALYZE twin.building")


def _pages(store: Store, settings: Settings) -> None:
    """Boxes of about 700 of 40,000 buildings, from four clients at once."""
    environment = os.environ | {"CIM_STATE": str(settings.state)}
    half = np.sqrt(700 / 2) * SPACING_M / 2
    rng = np.random.default_rng(4)
    crs = "http://www.opengis.net/def/crs/EPSG/0/4547"
    with serving(environment) as url:

        def ask(_: int) -> int:
            x, y = EAST + rng.uniform(-1000, 1000), NORTH + rng.uniform(-1000, 1000)
            box = f"{y - half},{x - half},{y + half},{x + half}"
            answer = client.get(f"/ogc/collections/building/items?f=json&limit=1000&bbox={box}&bbox-crs={crs}")
            return answer.content.count(b'"type":"Feature"')

        with httpx.Client(base_url=url, timeout=60) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, range(60)))  # each connection's first transformation builds its PROJ pipeline: 55 ms
            started = time.perf_counter()
            found = list(pool.map(ask, range(400)))
            rate = len(found) / (time.perf_counter() - started)
    _said(f"/ogc bbox of {np.mean(found):.0f} of 40,000", rate, "requests/s", 24)


if __name__ == "__main__":
    main()
