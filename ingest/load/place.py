"""Bringing a batch to the city: horizontal operation, vertical datum, and the check that it is this city at all."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from cim.city import City
from cim.errors import UnknownCrs, UnknownVerticalDatum
from cim.features import Features, Header
from cim.messages import say
from cim.reference.crs import WGS84, Float, Operation, check_place, identify, label, operation, split, to_wgs84
from cim.reference.gcj02 import unshift
from cim.reference.heights import ToCityHeight, datum_of, to_city_heights
from ingest.delivery.declared import declared_crs, heights_city
from ingest.delivery.report import FileReport
from ingest.formats.contract import Incoming


@dataclass(frozen=True)
class Placement:
    """How a file's coordinates become the city's."""

    city: City
    horizontal: CRS
    vertical_datum: str | None  # None: nothing tells, which is an error as soon as there are heights
    where: str
    shifted: str = ""  # GCJ-02 or BD-09: the coordinates are unshifted to `horizontal`, WGS 84, first
    unit: float = 1.0  # units of the CRS in a unit of the file's x and y
    z_unit_m: float = 1.0
    heights_city: City | None = None  # the city with the dataset's own height anomaly, where one is declared
    swapped: bool = False  # the file has northing or latitude first

    @cached_property
    def operation(self) -> Operation:
        """The horizontal operation to the city's CRS.

        Raises:
            NoOperation: no accurate, installed one leads there.

        """
        return operation(self.horizontal, CRS.from_epsg(self.city.srid), self.city.extent)

    def heights(self) -> tuple[str, ToCityHeight]:
        """Return the name of the operation on heights, and the operation.

        Raises:
            UnknownVerticalDatum: nothing tells the datum of the file's heights.

        """
        if self.vertical_datum is None:
            raise UnknownVerticalDatum(
                say("heights-without-vertical-datum", file=self.where, vertical_datum=self.city.vertical_datum)
            )
        return to_city_heights(self.vertical_datum, self.heights_city or self.city)


def placement(incoming: Incoming) -> Placement:
    """Settle CRS and vertical datum of a table: what is declared beside the file wins over what stands in it.

    Raises:
        UnknownCrs: nothing tells the CRS.

    """
    header, declared, city = incoming.header, incoming.declared, incoming.city
    shifted = declared.crs.upper() if declared.crs and unshift(declared.crs) else ""
    crs = WGS84 if shifted else declared_crs(declared) or header.crs
    if crs is None:
        raise UnknownCrs(say("nothing-tells-crs", file=incoming.where))
    horizontal, _ = split(crs)
    horizontal = identify(horizontal)
    return Placement(
        city=city,
        horizontal=horizontal,
        vertical_datum=declared.vertical_datum or datum_of(crs),
        where=incoming.where,
        shifted=shifted,
        unit=_unit(header, horizontal),
        z_unit_m=declared.z_unit_m or header.z_unit_m,
        heights_city=heights_city(declared, city),
        swapped=declared.axes == "yx",
    )


def _unit(header: Header, horizontal: CRS) -> float:
    if header.unit_m is None or not horizontal.is_projected:
        return 1.0
    return header.unit_m / horizontal.axis_info[0].unit_conversion_factor


def _scaled(features: Features, placement: Placement) -> Features:
    """Return the batch in the units of the CRS, easting or longitude first, heights in metres."""
    by = np.array([placement.unit, placement.unit, placement.z_unit_m])
    order = [1, 0, 2] if placement.swapped else [0, 1, 2]
    if (by == 1).all() and not placement.swapped:
        return features
    geometry = features.geometry.copy()
    for has_z in (False, True):
        some = shapely.has_z(geometry) == has_z
        if some.any():
            size = 2 + has_z
            geometry[some] = shapely.transform(
                geometry[some], lambda p, n=size: p[:, order[:n]] * by[:n], include_z=has_z
            )
    bodies = replace(features.bodies, vertices=features.bodies.vertices[:, order] * by)
    return replace(features, geometry=geometry, bodies=bodies)


def place(features: Features, placement: Placement, report: FileReport) -> Features:
    """Return the batch in the city's CRS and vertical datum.

    Z that is all zero over a batch of plane geometries is no height: such geometries become 2D.

    Raises:
        WrongCity: the data would land more than 50 km from the city.
        UnknownVerticalDatum: there are heights, and nothing tells their datum.

    """
    features = _scaled(features, placement)
    geometry = _without_zero_heights(features, report)
    if placement.shifted:
        features, geometry = _unshifted(features, geometry, placement.shifted)
    has_z = shapely.has_z(geometry)
    points = shapely.get_coordinates(geometry, include_z=bool(has_z.any()))
    vertices = features.bodies.vertices
    used = vertices[features.bodies.indices] if len(features.bodies) else np.empty((0, 3))
    _check_extent(np.concatenate([points[:, :2], used[:, :2]]), placement, report)

    x, y = placement.operation(vertices[:, 0], vertices[:, 1])
    z = vertices[:, 2]
    if len(used):
        report.heights, to_city = placement.heights()
        z = to_city(x, y, z)
    placed = np.c_[x, y, z]
    if len(points):
        points = points.copy()
        points[:, 0], points[:, 1] = placement.operation(points[:, 0], points[:, 1])
        if points.shape[1] == 3:
            has_height = np.isfinite(points[:, 2])
            report.heights, to_city = placement.heights()
            points[has_height, 2] = to_city(points[has_height, 0], points[has_height, 1], points[has_height, 2])
        geometry = shapely.set_coordinates(geometry.copy(), points)
    return replace(features, geometry=geometry, bodies=replace(features.bodies, vertices=placed))


def _without_zero_heights(features: Features, report: FileReport) -> NDArray[Any]:
    geometry = features.geometry
    with_z = np.flatnonzero(shapely.has_z(geometry))
    if not len(with_z):
        return geometry
    z = shapely.get_coordinates(geometry[with_z], include_z=True)[:, 2]
    if np.nanmax(np.abs(z), initial=0.0) > 0:
        return geometry
    report.warn(say("z-zero-everywhere"))
    return np.asarray(shapely.force_2d(geometry))


def _unshifted(features: Features, geometry: NDArray[Any], name: str) -> tuple[Features, NDArray[Any]]:
    """Return the batch and its plane geometries in WGS 84."""
    to_wgs = unshift(name)
    assert to_wgs is not None  # noqa: S101 - the placement asked
    points = shapely.get_coordinates(geometry, include_z=bool(shapely.has_z(geometry).any()))
    points[:, 0], points[:, 1] = to_wgs(points[:, 0], points[:, 1])
    vertices = features.bodies.vertices.copy()
    vertices[:, 0], vertices[:, 1] = to_wgs(vertices[:, 0], vertices[:, 1])
    bodies = replace(features.bodies, vertices=vertices)
    return replace(features, bodies=bodies), shapely.set_coordinates(geometry.copy(), points)


def _check_extent(xy: Float, placement: Placement, report: FileReport) -> None:
    finite = xy[np.isfinite(xy).all(axis=1)]
    if not len(finite):
        return
    # the corners and edge midpoints of the box: enough to say where it would land
    (xmin, ymin), (xmax, ymax) = finite.min(axis=0), finite.max(axis=0)
    x, y = np.meshgrid(np.linspace(xmin, xmax, 3), np.linspace(ymin, ymax, 3))
    lon, lat = to_wgs84(placement.horizontal)(x.ravel(), y.ravel())
    box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    at = (float(x.ravel()[4]), float(y.ravel()[4]))
    report.lies_outside(check_place(box, city=placement.city, crs=placement.horizontal, where=placement.where, at=at))
    report.widen(*box)
    report.crs = label(placement.horizontal)
    report.vertical_datum = placement.vertical_datum
    report.operation = placement.operation.name
    if placement.shifted:
        report.crs = placement.shifted
        report.operation = f"{placement.shifted} to WGS 84 by iteration + {placement.operation.name}"
