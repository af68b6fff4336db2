"""From the city's coordinates to the globe: the one place where a stored height becomes an ellipsoidal one."""

from dataclasses import dataclass
from functools import cached_property

from pyproj import CRS

from cim.city import City
from cim.reference.crs import Float, Operation, to_wgs84
from cim.reference.heights import Anomaly


@dataclass(frozen=True)
class Frame:
    """A city's way to WGS 84."""

    city: City

    @cached_property
    def operation(self) -> Operation:
        """The horizontal operation from the city's CRS to WGS 84."""
        return to_wgs84(CRS.from_epsg(self.city.srid), self.city.extent)

    @cached_property
    def _anomaly(self) -> Anomaly:
        return Anomaly(self.city)

    @property
    def signature(self) -> str:
        """What of the city enters a tile's fingerprint."""
        grid = self.city.height_anomaly_grid
        model = f"{grid.name}:{grid.stat().st_size}" if grid else repr(self.city.height_anomaly_m)
        return f"{self.city.srid}|{self.operation.name}|{model}"

    def globe(self, points: Float) -> tuple[Float, Float, Float]:
        """Return longitude and latitude in degrees and ellipsoidal height in metres.

        Args:
            points: (n, 3) east, north, height in the city's CRS and vertical datum.

        """
        lon, lat = self.operation(points[:, 0], points[:, 1])
        return lon, lat, self.ellipsoidal(points[:, 0], points[:, 1], points[:, 2])

    def ellipsoidal(self, x: Float, y: Float, height: Float) -> Float:
        """Return ellipsoidal heights of heights in the city's vertical datum, metres, at places in the city's CRS."""
        return height + self.rise(x, y)

    def rise(self, x: Float, y: Float) -> Float:
        """Return how much ellipsoidal heights are above the city's, metres, at places in the city's CRS; (n,)."""
        return self._anomaly(x, y)
