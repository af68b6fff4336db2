"""Reads `.bench`: a line a bench, `id,name,seats,longitude,latitude`, degrees of WGS 84."""

from collections.abc import Iterator
from pathlib import Path

import shapely
from pyproj import CRS

from cim.features import Features, Header, ReadOptions, Refusal, Source
from ingest.formats.contract import Reader

READER = Reader("bench", (".bench",), "benches.lines")
MEMBERS = 5


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Yield the file's one table."""
    lines = [line.split(",") for line in path.read_text("utf-8").splitlines()]
    whole = [line for line in lines if len(line) == MEMBERS]
    yield Source(
        Header(crs=CRS("OGC:CRS84"), layer_hint="bench"),
        iter(
            [
                Features(
                    ids=[line[0] for line in whole],
                    attributes=[{"name": line[1], "seats": line[2]} for line in whole],
                    geometry=shapely.points([[float(line[3]), float(line[4])] for line in whole]),
                    object_class=[None] * len(whole),
                    parent_id=[None] * len(whole),
                    refused=tuple(
                        Refusal(line[0], f"{len(line)} members in place of {MEMBERS}")
                        for line in lines
                        if len(line) != MEMBERS
                    ),
                )
            ]
        ),
    )
