"""`python -m tests.benchmarks.big_cloud [MILLIONS]`: a large LAZ through the commands, and how much memory they took.

Each command is a process of its own; printed is the most that it and its children held (VmHWM of the largest).
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

PIECE = 1_000_000


def main() -> None:
    """Print seconds, rates and memory of each command."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        file = write_cloud(folder / "cloud.laz", millions)
        print(f"{millions} million points, {file.stat().st_size / 1e6:.0f} MB of LAZ")  # noqa: T201
        environment = os.environ | {"CIM_STATE": str(folder / "state")}
        program = Path(sys.executable).with_name("cim")
        for command in (["init"], ["ingest", file, "--vertical-datum", "city"], ["tiles"]):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            started = time.perf_counter()
            subprocess.run([program, *command], check=True, env=environment, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - started
            most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            shown = f"{most // 1024} MB at most" if most > before else f"below {most // 1024} MB"
            print(f"cim {command[0]:<7} {seconds:6.1f} s  {millions * 1e6 / seconds:>11,.0f} points/s  {shown}")  # noqa: T201


def write_cloud(path: Path, millions: int) -> Path:
    """Write a hilly town of 2 km, scanned in strips, piece by piece."""
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.array([463_000.0, 4_192_000.0, 0.0])
    header.add_crs(CRS.from_epsg(4547))
    random = np.random.default_rng(1)
    wide = 2000.0 / millions
    with laspy.open(path, "w", header=header, laz_backend=laspy.LazBackend.LazrsParallel) as writer:
        for strip in range(millions):
            x, y = random.uniform(strip * wide, (strip + 1) * wide, PIECE), np.sort(random.uniform(0, 2000.0, PIECE))
            roofs = (np.sin(x / 12) > 0.5) & (np.sin(y / 9) > 0.5)
            record = laspy.ScaleAwarePointRecord.zeros(PIECE, header=header)
            record.x, record.y = 463_000 + x, 4_192_000 + y
            record.z = 700 + 20 * np.sin(x / 150) + 15 * roofs + random.normal(0, 0.03, PIECE)
            record.classification = np.where(roofs, 6, 2).astype(np.uint8)
            for name in ("red", "green", "blue"):
                record[name] = random.integers(0, 65535, PIECE).astype(np.uint16)
            writer.write_points(record)
    return path


if __name__ == "__main__":
    main()
