"""`python -m tests.benchmarks.points [CLOUD EPSG]`: a cloud into 3D Tiles, side by side with py3dtiles.

py3dtiles (PyPI) is installed into an environment of its own that is thrown away. Both read the same LAZ, which lies in
the CRS that is named; without a cloud one is made: a hilly town scanned in strips.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import laspy
import numpy as np
from pyproj import CRS

from cim.catalog.read import read_catalog
from cim.city import City
from tests.benchmarks.load import environment
from tiles.frame import Frame
from tiles.points import Cloud

COUNT = 1_000_000
PATIENCE_S = 900


def main() -> None:
    """Print both rates and their ratio."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if len(sys.argv) > 2:
            file, srid = Path(sys.argv[1]), int(sys.argv[2])
        else:
            file, srid = _strips(folder / "cloud.laz"), 4547
        with laspy.open(file) as reader:
            count = reader.header.point_count
        ours = min(_ours(file, folder / f"ours{n}", srid) for n in range(2))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"cim tiles  {count / ours:>9,.0f} points/s   ({count:,} points, {peak} MB at most)")  # noqa: T201
        peer = environment(folder / "peer", ("py3dtiles", "laspy[laszip]"), "py3dtiles")
        theirs = _theirs(peer, file, folder / "theirs", srid)
        if theirs is None:
            print(f"py3dtiles  didn't end within {PATIENCE_S} s")  # noqa: T201
            return
        print(f"py3dtiles  {count / theirs:>9,.0f} points/s")  # noqa: T201
        print(f"ratio      {theirs / ours:>9.1f}")  # noqa: T201


def _strips(path: Path) -> Path:
    random = np.random.default_rng(1)
    x = np.repeat(np.linspace(0, 700, 1000), COUNT // 1000) + random.normal(0, 0.05, COUNT)
    y = np.tile(np.linspace(0, 700, COUNT // 1000), 1000) + random.normal(0, 0.05, COUNT)
    roofs = (np.sin(x / 12) > 0.5) & (np.sin(y / 9) > 0.5)
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.array([463_000.0, 4_192_000.0, 0.0])
    header.add_crs(CRS.from_epsg(4547))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = 463_000 + x, 4_192_000 + y, 700 + 20 * np.sin(x / 150) + 15 * roofs
    for name in ("red", "green", "blue"):
        cloud[name] = random.integers(0, 65535, COUNT).astype(np.uint16)
    cloud.write(path)
    return path


def _ours(file: Path, folder: Path, srid: int) -> float:
    city = City(name="x", srid=srid, vertical_datum="city", height_anomaly_m=0.0)
    (layer,) = read_catalog().of_kind("points")
    (folder / layer.id).mkdir(parents=True)
    started = time.perf_counter()
    Cloud(file, folder / layer.id, Frame(city), layer, 1_500_000_000).build()
    return time.perf_counter() - started


def _theirs(peer: Path, file: Path, folder: Path, srid: int) -> float | None:
    command = [peer, "convert", file, "--out", folder, "--srs_in", str(srid), "--srs_out", "4978"]
    started = time.perf_counter()
    try:
        subprocess.run(
            [*command, "--jobs", str(os.cpu_count())], check=True, timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
