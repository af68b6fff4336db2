"""Files broken in a hundred ways: each gives a clear error or goes in as far as it can, and nothing is half in.

Small sound files of every text format are cut, garbled, blown up and re-encoded; whatever comes, a load ends soon with
an exit code of its own, in bounded memory, says what was wrong, and the counts of its report add up.
"""

import json
import random
import re
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cim.errors import UnreadableFile
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats.city_models import ifc_parts
from ingest.formats.drawings import dxf_parts
from ingest.load.pipeline import ingest
from tests.budget import PATIENT, SEED, draws
from tests.factory import cityjson

UNEXPECTED = "a fault that this program doesn't know how to say"

GRID = "EPSG:4547"
LONGEST_S = 20.0
MOST_MB = 700  # beyond what the process held before

GML = """<?xml version="1.0" encoding="UTF-8"?>
<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:bldg="http://www.opengis.net/citygml/building/2.0"
 xmlns:gml="http://www.opengis.net/gml"><gml:boundedBy><gml:Envelope srsName="EPSG:4547" srsDimension="3">
<gml:lowerCorner>500000 4190000 700</gml:lowerCorner><gml:upperCorner>500010 4190010 710</gml:upperCorner>
</gml:Envelope></gml:boundedBy><cityObjectMember><bldg:Building gml:id="b1"><bldg:measuredHeight uom="m">9.5
</bldg:measuredHeight><bldg:lod1Solid><gml:Solid><gml:exterior><gml:CompositeSurface><gml:surfaceMember><gml:Polygon>
<gml:exterior>
<gml:LinearRing><gml:posList>500000 4190000 700 500010 4190000 700 500010 4190010 700
500000 4190000 700</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></gml:surfaceMember>
</gml:CompositeSurface></gml:exterior>
</gml:Solid></bldg:lod1Solid></bldg:Building></cityObjectMember></CityModel>"""

LANDXML = """<?xml version="1.0"?><LandXML xmlns="http://www.landxml.org/schema/LandXML-1.2" version="1.2">
<Units><Metric linearUnit="meter" areaUnit="squareMeter" volumeUnit="cubicMeter"/></Units>
<Surfaces><Surface name="s"><Definition surfType="TIN"><Pnts><P id="1">4190000 500000 700</P>
<P id="2">4190010 500000 701</P><P id="3">4190000 500010 702</P></Pnts>
<Faces><F>1 2 3</F></Faces></Definition></Surface></Surfaces></LandXML>"""

OSM = """<?xml version="1.0" encoding="UTF-8"?><osm version="0.6"><node id="1" lat="37.86" lon="113.58"/>
<node id="2" lat="37.861" lon="113.58"/><node id="3" lat="37.861" lon="113.581"/>
<way id="9"><nd ref="1"/><nd ref="2"/><nd ref="3"/><tag k="highway" v="primary"/>
<tag k="name" v="桃河路"/></way></osm>"""

KML = """<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark>
<name>一号</name><Point><coordinates>113.58,37.86,700</coordinates></Point></Placemark></Document></kml>"""

GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": f"f{k}",
                "properties": {"name": "消火栓", "n": k},
                "geometry": {"type": "Point", "coordinates": [113.58 + k / 1000, 37.86]},
            }
            for k in range(4)
        ],
    },
    ensure_ascii=False,
)
TOPOJSON = """{"type": "Topology", "arcs": [], "objects": {"hydrant": {"type": "GeometryCollection",
 "geometries": [{"type": "Point", "coordinates": [113.58, 37.86]}]}}}"""
DXF = "0 SECTION 2 ENTITIES 0 POINT 8 GCD 10 500000.0 20 4190000.0 30 700.5 0 ENDSEC 0 EOF ".replace(" ", "\n")
IFC = """ISO-10303-21;
HEADER;FILE_DESCRIPTION((''),'2;1');FILE_NAME('','',(''),(''),'','','');FILE_SCHEMA(('IFC4'));ENDSEC;
DATA;
#1=IFCPROJECT('0YvctVUKr0kugbFTf53O9L',$,'p',$,$,$,$,$,$);
#2=IFCBUILDING('1YvctVUKr0kugbFTf53O9L',$,'b',$,$,$,$,$,.ELEMENT.,$,$,$);
ENDSEC;
END-ISO-10303-21;
"""
OBJ = "o a\nv 0 0 0\nv 10 0 0\nv 0 10 0\nv 0 0 10\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
TILESET = """{"asset": {"version": "1.1"}, "geometricError": 1,
 "root": {"boundingVolume": {"sphere": [0, 0, 0, 1]}, "geometricError": 1}}"""

SOUND: dict[str, str] = {
    "building.city.json": json.dumps(cityjson({"b1": {"box": (463_000, 4_192_000, 700, 10, 10, 10)}})),
    "building.gml": GML,
    "terrain_points.xml": LANDXML,
    "roads.osm": OSM,
    "hydrant.kml": KML,
    "hydrant.geojson": GEOJSON,
    "hydrant.topojson": TOPOJSON,
    "hydrant.csv": "编号,x,y,name\nh1,500000,4190000,甲\nh2,500010,4190010,乙\n",
    "survey.dat": "1,GCD,500000.0,4190000.0,700.1\n2,GCD,500010.0,4190010.0,700.2\n",
    "drawing.dxf": DXF,
    "model.ifc": IFC,
    "building.obj": OBJ,
    "tileset.json": TILESET,
    "metadata.xml": "<ModelMetadata><SRS>EPSG:4547</SRS><SRSOrigin>500000,4190000,700</SRSOrigin></ModelMetadata>",
    "hydrant.pg.toml": 'url = "host=/nowhere dbname=x1"\ntable = "t1"\n',
}

BOMB = f"""<!DOCTYPE x [<!ENTITY a "{"a" * 10}"><!ENTITY b "{"&a;" * 10}"><!ENTITY c "{"&b;" * 10}">]>"""
SPY = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


def cut(text: str, draw: random.Random) -> bytes:
    data = text.encode()
    return data[: draw.randrange(len(data))]


def garbled(text: str, draw: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(draw.randrange(1, 12)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def swapped(text: str, draw: random.Random) -> bytes:
    """A piece moved elsewhere: tags that cross, commas where a value was."""
    a, b, c = sorted(draw.randrange(len(text)) for _ in range(3))
    return (text[:a] + text[b:c] + text[a:b] + text[c:]).encode()


def huge(text: str, draw: random.Random) -> bytes:
    """One number made absurd."""
    chosen = draw.choice(list(re.finditer(r"-?\d+(?:\.\d+)?", text)))
    with_what = draw.choice(["1e308", "-1e400", "9" * 400, "NaN", "Infinity", "-0", "1e-320", "0x7fffffff", ""])
    return (text[: chosen.start()] + with_what + text[chosen.end() :]).encode()


def in_gbk(text: str, draw: random.Random) -> bytes:
    return text.encode("gb18030")


def in_utf16(text: str, draw: random.Random) -> bytes:
    return text.encode("utf-16")


def deep(text: str, draw: random.Random) -> bytes:
    """Brackets and tags, nested far deeper than anything real."""
    place = draw.randrange(len(text))
    return (
        text[:place] + draw.choice(["[" * 20_000, "<a>" * 20_000, "{" * 20_000, "(" * 20_000]) + text[place:]
    ).encode()


def nul(text: str, draw: random.Random) -> bytes:
    place = draw.randrange(len(text))
    return (text[:place] + "\x00" * 5 + text[place:]).encode()


def long_line(text: str, draw: random.Random) -> bytes:
    place = draw.randrange(len(text))
    return (text[:place] + "a" * 3_000_000 + text[place:]).encode()


WAYS: tuple[tuple[Callable[[str, random.Random], bytes], int], ...] = (
    (cut, 6), (garbled, 6), (swapped, 4), (huge, 8), (in_gbk, 1), (in_utf16, 1), (deep, 2), (nul, 2), (long_line, 1),
)  # fmt: skip


def broken(name: str) -> Iterator[tuple[str, bytes]]:
    text = SOUND[name]
    for way, times in WAYS:
        for seed in range(times):
            yield f"{way.__name__} {seed}", way(text, random.Random(f"{name}{way.__name__}{seed}"))
    if PATIENT:
        for number, chance in enumerate(draws(0, 0)):
            way = chance.choice(WAYS)[0]
            yield f"{way.__name__}, the {number}th of {SEED}", way(text, chance)
    if text.startswith("<"):
        head, sep, body = text.partition("?>")
        for bomb in (BOMB, SPY):
            used = re.sub(r">([^<>]+)<", ">&c;<" if bomb is BOMB else ">&a;<", body or head, count=1)
            yield "entity", (head + sep + bomb + used if sep else bomb + used).encode()


def held(store: Store) -> int:
    """Return how many rows there are, of all layers and of loads."""
    layers = [layer for layer in store.catalog.layers.values() if layer.geometry]
    counted = " + ".join(f'(SELECT count(*) FROM twin."{layer.id}")' for layer in layers)
    with store.connect() as connection:
        row = connection.execute(f"SELECT {counted} + (SELECT count(*) FROM cim.load)".encode()).fetchone()
    assert row is not None
    return int(row[0])


IN_DEGREES = (".kml", ".osm", "geojson", "topojson")
KNOW_THEIR_PLACE = ("metadata.xml", "tileset.json", "building.city.json")


def declared(name: str) -> Declared:
    """Return what a file needs to be told."""
    if name == "building.obj":
        return Declared(layer="building", anchor=(113.58, 37.86, 700.0), vertical_datum="city")
    placed = name.endswith(IN_DEGREES) or name in KNOW_THEIR_PLACE
    return Declared(crs=None if placed else GRID, vertical_datum="city")


@pytest.mark.parametrize("name", SOUND)
def test_whatever_is_broken_is_said_and_nothing_is_half_in(store: Store, tmp_path: Path, name: str) -> None:
    try_all(store, tmp_path, name)


@pytest.mark.parametrize("name", ["drawing.dxf", "model.ifc"])
def test_so_it_is_with_files_that_are_read_in_parts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in (dxf_parts, ifc_parts):
        monkeypatch.setattr(module, "LARGE_BYTES", 10)
        monkeypatch.setattr(module, "done", lambda work, parts, *_: map(work, parts))  # here: processes take time
    try_all(store, tmp_path, name)


def try_all(store: Store, tmp_path: Path, name: str) -> None:
    """Load a file broken in every way, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for what, content in broken(name):
        (tmp_path / name).write_bytes(content)
        rows, started = held(store), time.monotonic()
        try:
            report = ingest(store, [tmp_path / name], declared(name))
        except UnreadableFile:  # its mark is gone: no reader takes it for one of its files
            assert held(store) == rows
            continue
        assert time.monotonic() - started < LONGEST_S, what
        (file,) = report.files
        assert UNEXPECTED not in (file.error or ""), f"{what}: {file.error}"
        assert file.error or file.read == file.loaded + file.updated + file.unchanged + file.refused, (what, file)
        if report.exit_code == 1:
            assert file.error or file.refused, what
            assert held(store) == rows, f"{what}: a load that failed left something"
        assert "root:x:0" not in json.dumps(report.as_json()), "what stands in files of this machine is never repeated"
        assert len(file.error or "") < 2000, f"{what}: an error is a sentence, not the file"
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < MOST_MB


WITHOUT_CONTENT = ("model.ifc", "tileset.json", "metadata.xml", "hydrant.pg.toml")


@pytest.mark.parametrize("name", [name for name in SOUND if name not in WITHOUT_CONTENT])
def test_the_sound_files_go_in(store: Store, tmp_path: Path, name: str) -> None:
    """So that the broken ones are broken by what was done to them."""
    (tmp_path / name).write_text(SOUND[name], "utf-8")
    report = ingest(store, [tmp_path / name], declared(name))
    assert report.exit_code == 0, report.summary()
