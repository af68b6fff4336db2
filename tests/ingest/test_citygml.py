"""CityGML: the same model as in CityJSON, axis order by evidence, references, templates, ADEs, and hostile XML."""

from pathlib import Path

import numpy as np
import pytest

from cim.catalog.read import read_catalog
from cim.city import City
from cim.errors import UnreadableFile
from cim.features import Features, ReadOptions
from cim.geometry.body_batch import CLASS_INDEX
from cim.geometry.measures import volumes
from ingest.delivery.declared import Declared
from ingest.formats.city_models import citygml
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore
from tests.ingest.test_real_files import BERLIN, rows

YOKOSUKA = City(
    name="横須賀", srid=6677, vertical_datum="EPSG:6695", height_anomaly_m=37.0, extent=(139.6, 35.1, 139.9, 35.4)
)
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0"'
    ' xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:gml="http://www.opengis.net/gml"'
    ' xmlns:frn="http://www.opengis.net/citygml/cityfurniture/2.0" xmlns:xlink="http://www.w3.org/1999/xlink"'
    ' xmlns:gen="http://www.opengis.net/citygml/generics/2.0" xmlns:x="urn:example:ade">'
)
SQUARE = [(0, 0, 0), (0, 10, 0), (10, 10, 0), (10, 0, 0), (0, 0, 0)]


def member(inside: str) -> str:
    return f"<core:cityObjectMember>{inside}</core:cityObjectMember>"


def envelope(reference: str) -> str:
    return f'<gml:boundedBy><gml:Envelope srsName="{reference}" srsDimension="3"/></gml:boundedBy>'


def polygon(points: list[tuple[float, float, float]], identifier: str = "") -> str:
    numbers = " ".join(f"{c:g}" for point in points for c in point)
    named = f' gml:id="{identifier}"' if identifier else ""
    return (
        f"<gml:Polygon{named}><gml:exterior><gml:LinearRing><gml:posList>{numbers}</gml:posList>"
        "</gml:LinearRing></gml:exterior></gml:Polygon>"
    )


def written(path: Path, *members: str, reference: str = "EPSG:4547") -> Path:
    path.write_text(HEAD + envelope(reference) + "".join(map(member, members)) + "</core:CityModel>", "utf-8")
    return path


def the_batch(path: Path) -> Features:
    (source,) = citygml.read(path, ReadOptions(read_catalog()))
    (batch,) = source.batches
    return batch


def test_the_same_buildings_from_gml_and_cityjson_are_the_same_content(
    make_store: MakeStore, shared_data: Path
) -> None:
    store = make_store(BERLIN)
    said = Declared(vertical_datum="EPSG:5783")
    folder = shared_data / "citygml_citygml4j"
    first = ingest(store, [folder / "lod2_buildings_v3.gml"], said).files[0]
    assert (first.read, first.loaded, first.refused) == (100, 100, 0), first
    assert any("solids face outwards" in warning for warning in first.warned)
    again = ingest(store, [folder / "lod2_buildings_v2.json"], said).files[0]
    assert (again.read, again.unchanged, again.updated) == (100, 100, 0)


def test_plateau_goes_in_with_latitude_first_its_ade_and_its_relief(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(YOKOSUKA)
    folder = shared_data / "plateau_yokosuka"
    report = ingest(store, sorted(folder.glob("*.gml")), Declared())
    assert report.exit_code == 0, report.summary()
    buildings = rows(store, "SELECT count(*), count(parent_id) FROM twin.building")
    assert buildings == [(15, 2)]
    museum = "SELECT height_m, use, extra #>> '{buildingDetailAttribute,totalFloorArea}' FROM twin.building"
    assert rows(store, f"{museum} WHERE name = '横須賀美術館' AND height_m = 6") == [(6.0, "422", "42.4879")]
    inside = "ST_Within(ST_Transform(geom, 6668), ST_MakeEnvelope(139.737, 35.258, 139.7406, 35.2616, 6668))"
    assert rows(store, f"SELECT bool_and({inside}) FROM twin.building") == [(True,)]
    relief = "SELECT object_class, count(*) FROM twin.city_object GROUP BY 1 ORDER BY 1"
    assert rows(store, relief) == [("ReliefFeature", 2), ("TINRelief", 2)]
    triangles = "SELECT sum(get_byte(faces, 16) + 256 * get_byte(faces, 17)) FROM cim.body, twin.city_object o"
    assert rows(store, f"{triangles} WHERE body.hash = ANY (o.bodies)") == [
        (1065,)
    ]  # of 1,066: one has two equal points
    assert any("three distinct points" in warning for file in report.files for warning in file.warned)


@pytest.mark.parametrize(
    ("reference", "east_first"),
    [("EPSG:4547", True), ("urn:ogc:def:crs:EPSG::4547", False), ("http://www.opengis.net/def/crs/EPSG/0/4547", False)],
)
def test_a_urn_means_the_order_of_the_registry_a_bare_code_easting_first(
    tmp_path: Path, reference: str, east_first: bool
) -> None:
    place = (463_000, 4_192_000) if east_first else (4_192_000, 463_000)
    square = polygon([(x + place[0], y + place[1], z + 700) for x, y, z in SQUARE])
    body = f"<bldg:lod1MultiSurface><gml:MultiSurface><gml:surfaceMember>{square}</gml:surfaceMember></gml:MultiSurface></bldg:lod1MultiSurface>"  # noqa: E501
    file = written(tmp_path / "a.gml", f'<bldg:Building gml:id="B">{body}</bldg:Building>', reference=reference)
    batch = the_batch(file)
    assert batch.bodies.vertices.min(axis=0).tolist() == [463_000, 4_192_000, 700]
    assert not batch.warnings


def test_a_file_that_breaks_the_order_of_its_urn_is_read_where_it_lies_and_says_so(tmp_path: Path) -> None:
    square = polygon([(x + 463_000, y + 4_192_000, z + 700) for x, y, z in SQUARE])
    body = f"<bldg:lod1MultiSurface><gml:MultiSurface><gml:surfaceMember>{square}</gml:surfaceMember></gml:MultiSurface></bldg:lod1MultiSurface>"  # noqa: E501
    building = f'<bldg:Building gml:id="B">{body}</bldg:Building>'
    batch = the_batch(written(tmp_path / "a.gml", building, reference="urn:ogc:def:crs:EPSG::4547"))
    assert batch.bodies.vertices.min(axis=0).tolist() == [463_000, 4_192_000, 700]
    assert "only so they lie where it is used" in next(iter(batch.warnings))


def test_a_solid_takes_its_faces_by_reference_turned_ones_turned_and_their_classes(tmp_path: Path) -> None:
    surface = "<bldg:boundedBy><bldg:{0}><bldg:lod2MultiSurface><gml:MultiSurface><gml:surfaceMember>{1}</gml:surfaceMember></gml:MultiSurface></bldg:lod2MultiSurface></bldg:{0}></bldg:boundedBy>"  # noqa: E501
    roof = surface.format("RoofSurface", polygon(SQUARE, "top"))
    spare = surface.format("WallSurface", polygon(SQUARE, "spare"))
    turned = '<gml:OrientableSurface orientation="-"><gml:baseSurface xlink:href="#top"/></gml:OrientableSurface>'
    solid = f"<bldg:lod2Solid><gml:Solid><gml:exterior><gml:CompositeSurface><gml:surfaceMember>{turned}</gml:surfaceMember><gml:surfaceMember xlink:href='#gone'/></gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod2Solid>"  # noqa: E501
    batch = the_batch(written(tmp_path / "a.gml", f'<bldg:Building gml:id="B">{roof}{spare}{solid}</bldg:Building>'))
    assert batch.bodies.face_class.tolist() == [CLASS_INDEX["RoofSurface"]]
    assert batch.bodies.vertices.tolist() == [list(p) for p in SQUARE[:4][::-1]]
    assert {what: ids for what, ids in batch.warnings.items() if ids == ("B",)}.keys() == {
        "a reference to geometry that isn't in the same object left out",
        "surfaces of LoD 2 that its solid doesn't have left out",
    }


def test_implicit_geometry_is_placed_and_found_again_by_later_objects(tmp_path: Path) -> None:
    turned = "0 -1 0 0 1 0 0 0 0 0 1 0 0 0 0 1"
    place = "<core:referencePoint><gml:Point><gml:pos>463000 4192000 700</gml:pos></gml:Point></core:referencePoint>"
    geometry = (
        f'<gml:MultiSurface gml:id="t"><gml:surfaceMember>{polygon(SQUARE)}</gml:surfaceMember></gml:MultiSurface>'
    )
    lamp = (
        '<frn:CityFurniture gml:id="{}"><frn:lod1ImplicitRepresentation><core:ImplicitGeometry>'
        "<core:transformationMatrix>{}</core:transformationMatrix>{}{}"
        "</core:ImplicitGeometry></frn:lod1ImplicitRepresentation></frn:CityFurniture>"
    )
    first = lamp.format("L1", turned, f"<core:relativeGMLGeometry>{geometry}</core:relativeGMLGeometry>", place)
    second = lamp.format("L2", turned, '<core:relativeGMLGeometry xlink:href="#t"/>', place)
    batch = the_batch(written(tmp_path / "a.gml", first, second))
    assert batch.body_record.tolist() == [0, 1]
    assert batch.bodies.vertices[:, 0].min() == 462_990
    assert np.array_equal(batch.bodies.vertices[:4], batch.bodies.vertices[4:])
    red = (
        '<app:appearanceMember xmlns:app="http://www.opengis.net/citygml/appearance/2.0"><app:Appearance>'
        "<app:surfaceDataMember><app:X3DMaterial><app:diffuseColor>1 0 0</app:diffuseColor><app:target>#t</app:target>"
        "</app:X3DMaterial></app:surfaceDataMember></app:Appearance></app:appearanceMember></core:CityModel>"
    )
    painted = tmp_path / "painted.gml"
    painted.write_text((tmp_path / "a.gml").read_text("utf-8").replace("</core:CityModel>", red), "utf-8")
    looks = the_batch(painted).bodies.appearance
    assert looks is not None
    assert [looks.paints[p].color for p in looks.face_paint] == [(1.0, 0.0, 0.0)] * 2


def test_attributes_keep_their_types_units_and_nested_parts(tmp_path: Path) -> None:
    said = (
        '<gml:name>甲楼</gml:name><gen:intAttribute name="n"><gen:value>3</gen:value></gen:intAttribute>'
        '<gen:measureAttribute name="m"><gen:value uom="m2">4.5</gen:value></gen:measureAttribute>'
        '<bldg:measuredHeight uom="ft">30</bldg:measuredHeight><bldg:storeysAboveGround>4</bldg:storeysAboveGround>'
        "<x:detail><x:Detail><x:a>1</x:a><x:b>2</x:b><x:b>3</x:b></x:Detail></x:detail>"
        "<bldg:storeysBelowGround>none</bldg:storeysBelowGround>"
    )
    batch = the_batch(written(tmp_path / "a.gml", f'<bldg:Building gml:id="B">{said}</bldg:Building>'))
    assert batch.attributes == [
        {
            "name": "甲楼", "n": 3, "m": 4.5, "m_uom": "m2", "measuredHeight": "30.0 ft", "storeysAboveGround": 4,
            "detail": {"a": "1", "b": ["2", "3"]}, "storeysBelowGround": "none",
        }
    ]  # fmt: skip


def test_a_code_is_given_its_meaning_where_the_dictionary_lies_beside(tmp_path: Path) -> None:
    (tmp_path / "codes.xml").write_text(
        '<gml:Dictionary xmlns:gml="http://www.opengis.net/gml"><gml:dictionaryEntry><gml:Definition>'
        "<gml:description>商业</gml:description><gml:name>401</gml:name></gml:Definition></gml:dictionaryEntry>"
        "</gml:Dictionary>",
        "utf-8",
    )
    usage = '<bldg:usage codeSpace="codes.xml">401</bldg:usage>'
    batch = the_batch(written(tmp_path / "a.gml", f'<bldg:Building gml:id="B">{usage}</bldg:Building>'))
    assert batch.attributes == [{"usage": "401", "usage_codeSpace": "codes.xml", "usage_name": "商业"}]


def test_a_code_list_that_cannot_be_read_and_a_reference_in_a_circle_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "codes.xml").write_text("<not", "utf-8")
    usage = '<bldg:Building gml:id="A"><bldg:usage codeSpace="codes.xml">401</bldg:usage></bldg:Building>'
    circle = (
        '<bldg:Building gml:id="B"><bldg:lod1MultiSurface><gml:MultiSurface gml:id="m">'
        '<gml:surfaceMember xlink:href="#m"/></gml:MultiSurface></bldg:lod1MultiSurface></bldg:Building>'
    )
    batch = the_batch(written(tmp_path / "a.gml", usage, circle))
    assert batch.attributes == [{"usage": "401", "usage_codeSpace": "codes.xml"}]
    assert [r.id for r in batch.refused] == ["B"]


def test_one_broken_object_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = polygon(SQUARE).replace("10 10 0", "10 x 0")
    surface = "<bldg:lod1MultiSurface><gml:MultiSurface><gml:surfaceMember>{}</gml:surfaceMember></gml:MultiSurface></bldg:lod1MultiSurface>"  # noqa: E501
    buildings = [
        f'<bldg:Building gml:id="{name}">{surface.format(shape)}</bldg:Building>'
        for name, shape in (
            ("bad", bad),
            ("short", polygon(SQUARE).replace("0 0 0</", "0 0</")),
            ("good", polygon(SQUARE)),
        )
    ]
    batch = the_batch(written(tmp_path / "a.gml", *buildings))
    assert batch.ids == ["good"]
    assert [r.id for r in batch.refused] == ["bad", "short"]


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path: Path, cut: float) -> None:
    file = written(tmp_path / "a.gml", '<bldg:Building gml:id="B"/>')
    file.write_bytes(file.read_bytes()[: int(cut * file.stat().st_size)])
    with pytest.raises(UnreadableFile, match=r"a\.gml.*cut short"):
        the_batch(file)


def test_entities_are_not_expanded_and_a_doctype_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
    file = tmp_path / "a.gml"
    file.write_text(HEAD.replace("?>", "?>" + bomb) + member("<x:a>&c;</x:a>") + "</core:CityModel>", "utf-8")
    with pytest.raises(UnreadableFile, match="document type declaration"):
        the_batch(file)


def test_a_city_of_many_objects_comes_in_batches(tmp_path: Path) -> None:
    file = written(tmp_path / "a.gml", *(f'<bldg:Building gml:id="B{n}"/>' for n in range(12_000)))
    (source,) = citygml.read(file, ReadOptions(read_catalog()))
    sizes = [len(batch) for batch in source.batches]
    assert sum(sizes) == 12_000
    assert max(sizes) <= 5_000


def test_volumes_of_the_berlin_solids_are_positive(shared_data: Path) -> None:
    batch = the_batch(shared_data / "citygml_citygml4j/lod2_buildings_v3.gml")
    assert (volumes(batch.bodies) > 0).all()
