"""What surveyors hand over: points as text, LandXML surfaces in feet, GNSS stations."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import CRS

from cim.catalog.read import read_catalog
from cim.city import City
from cim.errors import UnreadableFile
from cim.features import Features, ReadOptions, Source
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats.drawings import landxml, rinex
from ingest.formats.drawings import survey_points as survey
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore

# the landfill of the surfaces in Missouri, and the Great Salt Lake of the station
MISSOURI = City(name="Missouri East", srid=26996, vertical_datum="EPSG:5703", extent=(-92.0, 36.0, -89.0, 40.0))


def read(reader: object, path: Path, crs: str | None = None) -> tuple[Source, Features]:
    options = ReadOptions(read_catalog(), crs=CRS.from_user_input(crs) if crs else None)
    (source,) = reader.read(path, options)  # type: ignore[attr-defined]
    (batch,) = source.batches
    return source, batch


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.connect() as connection:
        return connection.execute(sql.encode()).fetchall()


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("K1,KZD,463000,4192000,700.5\n", {"name": "K1", "code": "KZD"}),
        ("K1,,463000,4192000,700.5\n", {"name": "K1"}),
        ("K1 463000 4192000 700.5\n", {"name": "K1"}),
        ("463000\t4192000\t700.5\n", {}),
        ("K1，KZD，463000，4192000，700.5\n", {"name": "K1", "code": "KZD"}),
        ("# comment\n\nK1;KZD;463000;4192000;700.5\nEND\n", {"name": "K1", "code": "KZD"}),
    ],
)
def test_points_in_each_of_their_forms(tmp_path: Path, text: str, attributes: dict[str, str]) -> None:
    path = tmp_path / "points.dat"
    path.write_text(text, "utf-8")
    _, batch = read(survey, path)
    assert batch.attributes == [attributes]
    assert shapely.get_coordinates(batch.geometry, include_z=True).tolist() == [[463_000, 4_192_000, 700.5]]
    assert batch.object_class == [survey.POINT]


def test_a_northing_first_is_seen_by_where_the_points_lie(tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text("1,4192000,463000,700\n2,4192010,463010,701\n", "utf-8")
    source, batch = read(survey, path, "EPSG:4547")
    assert shapely.get_x(batch.geometry).tolist() == [463_000, 463_010]
    assert "northing" in source.header.warnings[0]


def test_lines_that_are_no_points_are_refused_by_their_number_and_the_rest_goes_in(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "测区.dat"
    path.write_bytes(
        "1,房角,463000,4192000,700\n2,陡坎,x,4192000,700\n3,463000\n4,路灯,463001,4192001,1e999\n".encode("gbk")
    )
    report = ingest(store, [path], Declared(crs="EPSG:4547", vertical_datum="city"))
    assert report.exit_code == 3
    file = report.files[0]
    assert (file.layers, file.read, file.loaded, file.refused) == (["survey_point"], 4, 1, 3)
    assert sorted(i for ids in file.refused_ids.values() for i in ids) == ["line 2", "line 3", "line 4"]
    assert rows(store, "SELECT code, ST_Z(geom) FROM twin.survey_point") == [("房角", 700.0)]


def test_a_text_with_a_row_of_names_is_a_table(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "control_point.txt"
    path.write_text("id\t点名\tx\ty\tz\nK1\t南山\t463000\t4192000\t700\n", "utf-8")
    assert ingest(store, [path], Declared(crs="EPSG:4547", vertical_datum="city")).exit_code == 0
    assert rows(store, "SELECT id, name FROM twin.control_point") == [("K1", "南山")]


def test_a_text_that_holds_no_points_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "readme.txt"
    path.write_text("This is a letter.\nIt holds no points.\n", "utf-8")
    with pytest.raises(UnreadableFile, match="no survey points in it"):
        read(survey, path)


def test_surfaces_in_survey_feet_come_to_metres(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(MISSOURI)
    said = Declared(crs="EPSG:26996", vertical_datum="city")
    for name, triangles, points in (("S3.xml", 300, 164), ("S4.xml", 3199, 1657)):
        report = ingest(store, [shared_data / "landxml" / name], said.model_copy(update={"id_prefix": name}))
        assert report.exit_code == 0, report.summary()
        found = rows(
            store, f"SELECT extra->>'triangles', extra->>'points' FROM twin.city_object WHERE id LIKE '{name}%'"
        )
        assert found == [(str(triangles), str(points))]
    low, high = rows(store, "SELECT min(z_min), max(z_max) FROM cim.body")[0]
    assert 130 < float(str(low)) < float(str(high)) < 180  # 450 to 550 feet
    assert rows(
        store, "SELECT bool_and(ST_X(ST_Transform(ST_Centroid(geom), 4326)) BETWEEN -91 AND -90) FROM twin.city_object"
    ) == [(True,)]


def test_a_surface_of_metres_keeps_its_numbers_and_drops_what_has_no_point(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        '<LandXML xmlns="http://www.landxml.org/schema/LandXML-1.2"><Units><Metric linearUnit="meter"/></Units>'
        '<CoordinateSystem epsgCode="4547"/><CgPoints><CgPoint name="P1" code="KZD">4192000 463000 700</CgPoint>'
        "</CgPoints>"
        '<Surfaces><Surface name="T"><Definition surfType="TIN"><Pnts><P id="1">4192000 463000 700</P>'
        '<P id="2">4192000 463010 701</P><P id="7">4192010 463000 702</P></Pnts><Faces><F>1 2 7</F><F i="1">1 2 7</F>'
        "<F>1 2 9</F></Faces></Definition></Surface><Surface name='none'/></Surfaces></LandXML>",
        "utf-8",
    )
    source, batch = read(landxml, path)
    assert source.header.crs == CRS.from_epsg(4547)
    assert batch.ids == ["P1", "T"]
    assert batch.bodies.vertices.tolist() == [
        [463_000, 4_192_000, 700], [463_010, 4_192_000, 701], [463_000, 4_192_010, 702],
    ]  # fmt: skip
    assert [r.id for r in batch.refused] == ["none"]
    assert "1 invisible face" in source.header.warnings[-1]
    assert "1 face of T with a point that isn't there" in source.header.warnings[-1]


def test_a_station_stands_where_its_observations_say(shared_data: Path) -> None:
    (file,) = (shared_data / "rinex").glob("*.rnx.gz")
    source, batch = read(rinex, file)
    assert batch.ids == ["ceda"]
    place = batch.geometry[0]
    x, y, z = batch.attributes[0]["geocentric_xyz_m"]
    assert place.x == pytest.approx(np.degrees(np.arctan2(y, x)), abs=1e-9)
    # Bowring's closed form (1976) on WGS 84
    a, b = 6_378_137.0, 6_356_752.314245
    p = np.hypot(x, y)
    parametric = np.arctan2(z * a, p * b)
    second, first = (a**2 - b**2) / b, (a**2 - b**2) / a
    latitude = np.arctan2(z + second * np.sin(parametric) ** 3, p - first * np.cos(parametric) ** 3)
    assert place.y == pytest.approx(np.degrees(latitude), abs=1e-9)
    assert source.header.surveyed is not None
    assert source.header.surveyed.isoformat() == "2018-07-29"


@pytest.mark.parametrize("name", ["brdc2800.15n", "igs19362.sp3c"])
def test_gnss_files_without_a_station_say_so(shared_data: Path, name: str) -> None:
    with pytest.raises(UnreadableFile, match="no station"):
        read(rinex, shared_data / "rinex" / name)
