"""DXF drawings: what each entity becomes, drawing layers to layers, blocks, elevations, GEODATA, damage."""

from pathlib import Path

import ezdxf
import pytest
import shapely
from ezdxf.document import Drawing

from cim.catalog.read import read_catalog
from cim.errors import UnreadableFile
from cim.features import Features, ReadOptions
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats.drawings import dxf
from ingest.load.pipeline import ingest

E, N = 463_000, 4_192_000
SQUARE = [(E, N), (E + 30, N), (E + 30, N + 20), (E, N + 20)]


@pytest.fixture
def drawing() -> Drawing:
    return ezdxf.new("R2000", setup=True)  # type: ignore[attr-defined]


def saved(drawing: Drawing, path: Path) -> Path:
    drawing.saveas(path)
    return path


def batches(path: Path, **layers: str) -> list[Features]:
    (source,) = dxf.read(path, ReadOptions(read_catalog(), layers=layers))
    return [batch for batch in source.batches if len(batch) or batch.warnings]


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.connect() as connection:
        return connection.execute(sql.encode()).fetchall()


def test_drawing_layers_find_their_layers_by_the_settings_and_by_the_codes_of_cass(
    drawing: Drawing, store: Store, tmp_path: Path
) -> None:
    space = drawing.modelspace()
    space.add_lwpolyline(SQUARE, close=True, dxfattribs={"layer": "JMD"})
    space.add_lwpolyline(SQUARE, close=True, dxfattribs={"layer": "停车场-1"})
    space.add_lwpolyline(SQUARE[:3], dxfattribs={"layer": "陡坎"})
    space.add_text("砖3", dxfattribs={"layer": "JMD", "insert": (E + 5, N + 5)})
    path = saved(drawing, tmp_path / "2024-1-500.dxf")
    report = ingest(store, [path], Declared(crs="EPSG:4547", layers={"停车场*": "parking_lot"}))
    assert report.exit_code == 0, report.summary()
    assert rows(store, "SELECT extra->>'图层', round(ST_Area(geom)) FROM twin.building") == [("JMD", 600)]
    assert rows(store, "SELECT extra->>'图层' FROM twin.parking_lot") == [("停车场-1",)]
    assert rows(store, "SELECT line_kind FROM twin.survey_line") == [("breakline",)]
    assert rows(store, "SELECT point_text FROM twin.survey_point") == [("砖3",)]


def test_settings_that_name_no_layer_are_an_error(drawing: Drawing, store: Store, tmp_path: Path) -> None:
    path = saved(drawing, tmp_path / "a.dxf")
    report = ingest(store, [path], Declared(layers={"JMD": "buildinng"}))
    assert "buildinng" in str(report.files[0].error)
    assert report.exit_code == 1


def test_curves_follow_their_arc_and_contours_keep_their_level(drawing: Drawing, tmp_path: Path) -> None:
    space = drawing.modelspace()
    space.add_circle((E, N), 10)
    space.add_lwpolyline(SQUARE, dxfattribs={"elevation": 705.5})
    space.add_lwpolyline([(E, N, 0, 0, 1.0), (E + 20, N, 0, 0, 0)])
    (batch,) = batches(saved(drawing, tmp_path / "a.dxf"))
    circle, contour, arc = batch.geometry
    assert circle.geom_type == "LinearRing"
    assert circle.length == pytest.approx(20 * 3.14159265, rel=1e-3)
    assert batch.attributes[1]["elevation"] == 705.5
    assert shapely.get_coordinates(contour, include_z=True)[:, 2].tolist() == [705.5] * 4
    assert not shapely.has_z(circle)
    assert arc.length == pytest.approx(10 * 3.14159265, rel=1e-3)


def test_a_small_block_is_a_symbol_and_a_big_one_is_taken_apart(drawing: Drawing, tmp_path: Path) -> None:
    tree = drawing.blocks.new("GC113")
    tree.add_circle((0, 0), 1)
    spot = drawing.blocks.new("GC200")
    spot.add_attdef("height", (0, 0))
    site = drawing.blocks.new("SITE")
    site.add_lwpolyline([(0, 0), (300, 0), (300, 200)])
    site.add_blockref("GC113", (10, 10))
    space = drawing.modelspace()
    space.add_blockref("GC113", (E, N))
    space.add_blockref("GC200", (E, N, 701.23)).add_attrib("height", "701.23")
    space.add_blockref("SITE", (E, N), dxfattribs={"rotation": 90})
    (batch,) = batches(saved(drawing, tmp_path / "a.dxf"))
    assert [(a["block"], g.geom_type) for a, g in zip(batch.attributes, batch.geometry, strict=True)] == [
        ("GC113", "Point"), ("GC200", "Point"), ("SITE", "LineString"), ("GC113", "Point"),
    ]  # fmt: skip
    assert batch.attributes[1]["height"] == "701.23"
    assert batch.geometry[1].z == 701.23
    assert shapely.get_coordinates(batch.geometry[3])[0].tolist() == pytest.approx([E - 10, N + 10])


def test_a_hatch_is_an_area_with_its_hole_and_faces_are_one_body(drawing: Drawing, tmp_path: Path) -> None:
    space = drawing.modelspace()
    hatch = space.add_hatch()
    hatch.paths.add_polyline_path(SQUARE, is_closed=True)
    hatch.paths.add_polyline_path([(E + 5, N + 5), (E + 10, N + 5), (E + 10, N + 10)], is_closed=True, flags=16)
    for n in range(3):
        space.add_3dface([(E, N, 700 + n), (E + 1, N, 700), (E, N + 1, 700)], dxfattribs={"layer": "DTM"})
    plane, solid = batches(saved(drawing, tmp_path / "a.dxf"))
    assert plane.geometry[0].area == pytest.approx(600 - 12.5)
    assert solid.ids == ["dxf-faces-DTM"]
    assert len(solid.bodies.face_class) == 3


def test_geodata_places_the_drawing(shared_data: Path) -> None:
    (source,) = dxf.read(
        shared_data / "ezdxf_survey/houses_of_parliament_georeferenced.dxf", ReadOptions(read_catalog())
    )
    assert source.header.crs is not None
    assert source.header.crs.to_epsg() == 27700
    (batch,) = [b for b in source.batches if len(b)]
    assert (len(batch), batch.geometry[0].geom_type) == (1, "LinearRing")
    centre = batch.geometry[0].centroid
    assert (centre.x, centre.y) == pytest.approx((530_270, 179_500), abs=150)  # the Palace of Westminster


def test_images_that_are_missing_are_named(shared_data: Path) -> None:
    (batch,) = batches(shared_data / "ezdxf_survey/Graz_10km_3m.dxf")
    assert len(batch) == 0
    assert "8 IMAGE" not in str(batch.warnings)
    assert str(batch.warnings).count(".jpeg") == 8


def test_a_file_that_is_no_drawing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.dxf"
    path.write_bytes(b"\x00\x01not a drawing")
    with pytest.raises(UnreadableFile, match=r"a\.dxf: not readable as DXF"):
        batches(path)


def test_axes_that_are_swapped_can_be_declared(drawing: Drawing, store: Store, tmp_path: Path) -> None:
    drawing.modelspace().add_lwpolyline([(y, x) for x, y in SQUARE], close=True)
    path = saved(drawing, tmp_path / "building.dxf")
    refused = ingest(store, [path], Declared(crs="EPSG:4547"))
    assert refused.exit_code == 1
    assert 'axes = "yx"' in refused.summary()
    assert ingest(store, [path], Declared(crs="EPSG:4547", axes="yx")).exit_code == 0
    assert rows(store, "SELECT round(ST_XMin(geom)), round(ST_YMin(geom)) FROM twin.building") == [(E, N)]
