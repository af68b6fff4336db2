"""IFC: placed by its map conversion in any units, three disciplines of one building, storeys, properties."""

from pathlib import Path

import ifcopenshell
import numpy as np
import pytest

from cim.catalog.read import read_catalog
from cim.city import City
from cim.errors import UnreadableFile
from cim.features import Features, ReadOptions
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats.city_models import ifc
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore

FIJI = City(name="UTM 60S", srid=32760, vertical_datum="city", extent=(174.0, -10.0, 180.0, -6.0))

HEAD = """ISO-10303-21;HEADER;FILE_DESCRIPTION((''),'2;1');FILE_NAME('','',(''),(''),'','','');
FILE_SCHEMA(('IFC4'));ENDSEC;DATA;
#1=IFCPROJECT('0YvctVUKr0kugbFTf53O9L',$,'P',$,$,$,$,(#10),#2);
#2=IFCUNITASSIGNMENT((#3));
#3=IFCSIUNIT(*,.LENGTHUNIT.,{prefix},.METRE.);
#4=IFCCARTESIANPOINT((0.,0.,0.));
#5=IFCAXIS2PLACEMENT3D(#4,$,$);
#10=IFCGEOMETRICREPRESENTATIONCONTEXT($,'Model',3,1.E-5,#5,{north});
{placing}
#23=IFCSITE('1YvctVUKr0kugbFTf53O9L',$,'S',$,$,#22,$,$,.ELEMENT.,{site});
#22=IFCLOCALPLACEMENT($,#5);
#25=IFCBUILDING('2YvctVUKr0kugbFTf53O9L',$,'\\X2\\4E0053F7697C\\X0\\',$,$,#22,$,$,.ELEMENT.,$,$,$);
#27=IFCBUILDINGSTOREY('3YvctVUKr0kugbFTf53O9L',$,'1F',$,$,#22,$,$,.ELEMENT.,0.);
#33=IFCCARTESIANPOINTLIST2D(((0.,0.),({a}0.,0.),({a}0.,{a}0.),(0.,{a}0.),(0.,0.)));
#34=IFCINDEXEDPOLYCURVE(#33,$,.F.);
#35=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#34);
#36=IFCDIRECTION((0.,0.,1.));
#37=IFCEXTRUDEDAREASOLID(#35,#5,#36,{a}.);
#38=IFCSHAPEREPRESENTATION(#10,'Body','SweptSolid',(#37));
#39=IFCPRODUCTDEFINITIONSHAPE($,$,(#38));
#40=IFCSLAB('4YvctVUKr0kugbFTf53O9L',$,'slab',$,$,#22,#39,$,.FLOOR.);
#41=IFCROOF('5YvctVUKr0kugbFTf53O9M',$,'roof',$,$,#22,$,$,$);
#42=IFCSLAB('6YvctVUKr0kugbFTf53O9M',$,'part',$,$,#22,#39,$,.ROOF.);
#43=IFCWALL('7YvctVUKr0kugbFTf53O9M',$,'bare',$,$,#22,$,$,$);
#51=IFCRELAGGREGATES('5YvctVUKr0kugbFTf53O9L',$,$,$,#1,(#23));
#52=IFCRELAGGREGATES('6YvctVUKr0kugbFTf53O9L',$,$,$,#23,(#25));
#53=IFCRELAGGREGATES('7YvctVUKr0kugbFTf53O9L',$,$,$,#25,(#27));
#54=IFCRELAGGREGATES('9YvctVUKr0kugbFTf53O9L',$,$,$,#41,(#42));
#55=IFCRELCONTAINEDINSPATIALSTRUCTURE('8YvctVUKr0kugbFTf53O9L',$,$,$,(#40,#41,#43),#27);
#60=IFCPROPERTYSINGLEVALUE('LoadBearing',$,IFCBOOLEAN(.T.),$);
#61=IFCPROPERTYSET('aYvctVUKr0kugbFTf53O9L',$,'Pset_SlabCommon',$,(#60));
#62=IFCRELDEFINESBYPROPERTIES('bYvctVUKr0kugbFTf53O9L',$,$,$,(#40),#61);
ENDSEC;END-ISO-10303-21;
"""


def written(
    path: Path, *, millimetres: bool = True, map_unit: str = "$", scale: str = "$",
    origin: str = "463000.,4192000.,700.", axis: str = "1.,0.", placing: bool = True,
    site: str = "$,$,$,$,$", north: str = "$",
) -> Path:  # fmt: skip
    """A slab of ten by ten by one metres at the model's origin, a roof of one part, and a wall without geometry."""
    conversion = (
        f"#11=IFCPROJECTEDCRS('EPSG:4547',$,$,'EPSG:5737',$,$,{map_unit});\n"
        f"#12=IFCMAPCONVERSION(#10,#11,{origin},{axis},{scale});\n"
        "#13=IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.);"
    )
    text = HEAD.format(
        prefix=".MILLI." if millimetres else "$", a="1000" if millimetres else "1", north=north, site=site,
        placing=conversion if placing else "",
    )  # fmt: skip
    path.write_text(text, "ascii")
    return path


def batches(path: Path) -> list[Features]:
    (source,) = ifc.read(path, ReadOptions(read_catalog()))
    return list(source.batches)


@pytest.mark.parametrize(
    ("millimetres", "map_unit", "scale", "origin"),
    [
        (True, "#13", "$", "463000.,4192000.,700."),
        (True, "#13", "0.001", "463000.,4192000.,700."),
        (True, "#13", "1.", "463000.,4192000.,700."),  # forgets the units, as many programs do
        (True, "$", "1.", "463000000.,4192000000.,700000."),
        (True, "#3", "$", "463000000.,4192000000.,700000."),
        (False, "#13", "1.", "463000.,4192000.,700."),
        (False, "$", "$", "463000.,4192000.,700."),
    ],
)
def test_the_slab_lies_in_one_place_whatever_the_units(
    tmp_path: Path, millimetres: bool, map_unit: str, scale: str, origin: str
) -> None:
    path = written(tmp_path / "a.ifc", millimetres=millimetres, map_unit=map_unit, scale=scale, origin=origin)
    batch = batches(path)[0]
    low, high = batch.bodies.vertices.min(axis=0), batch.bodies.vertices.max(axis=0)
    assert low.tolist() == pytest.approx([463_000, 4_192_000, 700])
    assert high.tolist() == pytest.approx([463_010, 4_192_010, 701])


def test_the_map_conversion_turns_anticlockwise(tmp_path: Path) -> None:
    batch = batches(written(tmp_path / "a.ifc", map_unit="#13", axis="0.,1."))[0]
    assert batch.bodies.vertices.min(axis=0).tolist() == pytest.approx([462_990, 4_192_000, 700])


def test_the_site_places_it_where_nothing_else_does(store: Store, tmp_path: Path) -> None:
    site = "(37,51,36,0),(113,34,48,0),690.,$,$"
    path = written(tmp_path / "a.ifc", millimetres=False, placing=False, site=site)
    report = ingest(store, [path], Declared(vertical_datum="city"))
    assert report.files[0].loaded > 0, report.summary()
    assert any("latitude and longitude" in warning for warning in report.files[0].warned)
    with store.connect() as connection:
        place = "ST_Transform(ST_Centroid(geom), 4490)"
        row = connection.execute(
            f"SELECT ST_X({place}), ST_Y({place}) FROM twin.building_element WHERE name = 'slab'".encode()
        ).fetchone()
        z = connection.execute("SELECT min(z_min) FROM cim.body").fetchone()
    assert row == pytest.approx((113.58 + 5 / 87_900, 37.86 + 5 / 111_000), abs=1e-6)
    assert z == (690.0,)


def test_a_model_that_nothing_places_is_refused_with_the_way_out(store: Store, tmp_path: Path) -> None:
    report = ingest(store, [written(tmp_path / "a.ifc", placing=False)], Declared(vertical_datum="city"))
    assert report.exit_code == 1
    assert report.files[0].setting == "crs"


def test_each_object_goes_to_its_level_of_the_model(store: Store, tmp_path: Path) -> None:
    report = ingest(store, [written(tmp_path / "a.ifc", map_unit="#13")], Declared())
    assert report.exit_code == 0, report.summary()

    def rows(sql: str) -> list[tuple[object, ...]]:
        with store.connect() as connection:
            return connection.execute(sql.encode()).fetchall()

    found = rows("SELECT name, element_class, on_storey, parent_id IS NULL FROM twin.building_element ORDER BY name")
    assert found == [
        ("part", "IfcSlab", "1F", False), ("roof", "IfcRoof", "1F", True), ("slab", "IfcSlab", "1F", True),
    ]  # fmt: skip
    properties = "SELECT extra #> '{properties,Pset_SlabCommon}' FROM twin.building_element WHERE name = 'slab'"
    assert rows(properties) == [({"LoadBearing": True},)]
    assert rows("SELECT name, height_m, base_m, storeys, round(ST_Area(geom)) FROM twin.building") == [
        ("一号楼", 1.0, 700.0, 1, 100.0)
    ]
    assert rows("SELECT name, round(ST_Area(geom)) FROM twin.building_unit") == [("1F", 100.0)]
    assert any("1 IfcWall" in warning for warning in report.files[0].warned)


@pytest.mark.parametrize(
    ("name", "elements", "without"),
    [("Building-Architecture", 15, 3), ("Building-Structural", 18, 1), ("Building-Hvac", 6, 1)],
)
def test_the_three_disciplines_go_in_beside_each_other(
    make_store: MakeStore, shared_data: Path, name: str, elements: int, without: int
) -> None:
    path = shared_data / f"ifc_pcert/{name}.ifc"
    assert len(ifcopenshell.open(path).by_type("IfcElement")) == elements
    store = make_store(FIJI)
    report = ingest(store, [path], Declared(vertical_datum="city"))
    assert report.exit_code == 0, report.summary()
    with store.connect() as connection:
        kept = connection.execute("SELECT count(*) FROM twin.building_element").fetchone()
        box = connection.execute("SELECT ST_XMin(e), ST_YMin(e) FROM (SELECT ST_Extent(geom) e FROM twin.building) b")
        assert kept == (elements - without,)
        assert box.fetchone() == pytest.approx((729_010, 9_063_998), abs=12)  # the conversion's origin, in metres


def test_a_file_cut_short_or_of_another_kind_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.ifc"
    path.write_text("not a model", "ascii")
    with pytest.raises(UnreadableFile, match=r"a\.ifc"):
        batches(path)


def test_placing_keeps_a_scale_of_the_map() -> None:
    placing = ifc._Placing(origin=(100.0, 200.0, 3.0), scale=0.9996)
    assert np.allclose(placing(np.array([[10.0, 20.0, 1.0]])), [[109.996, 219.992, 4.0]])
