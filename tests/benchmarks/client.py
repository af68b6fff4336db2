"""300,000 buildings into a GeoDataFrame: the notebook client, `geopandas.read_postgis`, and GeoJSON page by page."""

import gc
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import httpx

import cim
from cim.config import Settings
from cim.store.connection import Store, initialise, open_store
from tests.conftest import serving

COUNT = 300_000
ROUNDS = 5


def main() -> None:
    """Print seconds and ratios, all in one run; the best of five rounds each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        settings = Settings(state=folder / "state")
        initialise(settings)
        with open_store(settings) as store:
            _fill(store)
            with serving(os.environ | {"CIM_STATE": str(settings.state)}) as url:
                twin = cim.connect(url)
                ours = _best(lambda: twin.read("building"))
                peer = _best(lambda: _read_postgis(store))
                pages = _best(lambda: _paged(url), rounds=1)
        print(f"client            {ours:6.2f} s   {COUNT / ours:>9,.0f} rows/s")  # noqa: T201
        print(f"read_postgis      {peer:6.2f} s   {peer / ours:5.1f} × as long")  # noqa: T201
        print(f"GeoJSON pages     {pages:6.2f} s   {pages / ours:5.1f} × as long")  # noqa: T201


def _fill(store: Store) -> None:
    with store.connect() as connection:
        connection.execute(
            f"""INSERT INTO twin.building (valid, id, geom, content, class_code, cim_level, dataset, load, name, use,
                                           height_m, storeys, year_built, lods, flags, extra)
                SELECT tstzrange('2024-05-01', NULL), 'B' || i,
                       ST_Multi(ST_Rotate(ST_SetSRID(ST_MakeEnvelope(x, y, x + 10 + i % 7, y + 12), 4547), i, x, y)),
                       decode(md5(i::text), 'hex'), '0102', 2, '阳泉 generated', 1, '楼' || i, 'residential',
                       3 + i % 60 + 0.5, 1 + i % 20, 1950 + i % 70, ARRAY['1'], NULL, jsonb_build_object('k', i)
                FROM generate_series(1, {COUNT}) i,
                     LATERAL (SELECT 455000 + (i % 600) * 30 AS x, 4185000 + (i / 600) * 30 AS y) place"""
        )
    with store.connect() as connection:
        connection.execute("ANALYZE twin.building")


def _best(read: Callable[[], gpd.GeoDataFrame], rounds: int = ROUNDS) -> float:
    seconds = []
    for _ in range(rounds):
        gc.collect()
        started = time.perf_counter()
        assert len(read()) == COUNT
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _read_postgis(store: Store) -> gpd.GeoDataFrame:
    """Read the same columns the way a notebook does without us."""
    with store.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas would rather have SQLAlchemy
        return gpd.read_postgis(
            """SELECT id, name, use, height_m, storeys, base_m, year_built, address, parent_id, class_code, dataset,
                      load, lower(valid) AS valid_from, upper(valid) AS valid_until, array_to_string(lods, ' ') AS lods,
                      array_to_string(flags, ' ') AS flags, extra::text AS extra, geom
               FROM twin.building WHERE upper_inf(recorded) AND valid @> now()""",
            connection,
        )


def _paged(url: str) -> gpd.GeoDataFrame:
    """Follow `next` links from page to page, 10,000 features each, the most that the server gives."""
    features: list[dict[str, object]] = []
    address = f"{url}/ogc/collections/building/items?f=json&limit=10000"
    with httpx.Client(timeout=120) as client:
        while address:
            document = client.get(address).json()
            features += document["features"]
            address = next((link["href"] for link in document["links"] if link["rel"] == "next"), "")
    return gpd.GeoDataFrame.from_features(features, crs=4326)


if __name__ == "__main__":
    main()
