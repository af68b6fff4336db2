"""Footprint forms of the sample's buildings, about their own middle; a size in metres, corners counter-clockwise."""

import math
from collections.abc import Callable

import numpy as np
import shapely
from shapely import Polygon
from shapely.affinity import rotate, translate

Rng = np.random.Generator


def rectangle(w: float, d: float) -> Polygon:
    """Return a rectangle that begins at its south-west corner."""
    x, y = w / 2, d / 2
    return Polygon([(-x, -y), (x, -y), (x, y), (-x, y)])


def ell(w: float, d: float, rng: Rng) -> Polygon:
    """Return an L: a wing along the south, one along the west."""
    a, b = w * rng.uniform(0.3, 0.5), d * rng.uniform(0.4, 0.55)
    x, y = w / 2, d / 2
    return Polygon([(-x, -y), (x, -y), (x, -y + b), (-x + a, -y + b), (-x + a, y), (-x, y)])


def you(w: float, d: float, rng: Rng) -> Polygon:
    """Return a U, open to the north."""
    arm = min(w, d) * rng.uniform(0.26, 0.32)
    x, y = w / 2, d / 2
    return Polygon(
        [(-x, -y), (x, -y), (x, y), (x - arm, y), (x - arm, -y + arm), (-x + arm, -y + arm), (-x + arm, y), (-x, y)]
    )


def tee(w: float, d: float, rng: Rng) -> Polygon:
    """Return a T: a bar along the south, a stem to the north."""
    bar, stem = d * rng.uniform(0.42, 0.55), w * rng.uniform(0.28, 0.4)
    x, y = w / 2, d / 2
    stem /= 2
    right = [(x, -y), (x, -y + bar), (stem, -y + bar), (stem, y)]
    return Polygon([(-x, -y), *right, (-stem, y), (-stem, -y + bar), (-x, -y + bar)])


def aitch(w: float, d: float, rng: Rng) -> Polygon:
    """Return an H: two bars and a link."""
    bar, link = w * rng.uniform(0.28, 0.34), d * rng.uniform(0.3, 0.45)
    x, y, h = w / 2, d / 2, link / 2
    left = [(-x, y), (-x, -y), (-x + bar, -y), (-x + bar, -h), (x - bar, -h), (x - bar, -y)]
    return Polygon([*left, (x, -y), (x, y), (x - bar, y), (x - bar, h), (-x + bar, h), (-x + bar, y)])


def cross(w: float, d: float, rng: Rng) -> Polygon:
    """Return a point tower: a rectangle with notched corners."""
    n = min(w, d) * rng.uniform(0.13, 0.22)
    x, y = w / 2, d / 2
    lower = [(-x + n, -y), (x - n, -y), (x - n, -y + n), (x, -y + n), (x, y - n), (x - n, y - n)]
    return Polygon([*lower, (x - n, y), (-x + n, y), (-x + n, y - n), (-x, y - n), (-x, -y + n), (-x + n, -y + n)])


def setbacks(w: float, d: float, rng: Rng) -> Polygon:
    """Return a row whose sections stand back one behind the other."""
    sections = int(rng.integers(3, 5))
    step = d * rng.uniform(0.18, 0.28)
    edges = np.linspace(-w / 2, w / 2, sections + 1)
    low = [-d / 2 + k * step for k in range(sections)]
    south = [(float(edges[k + i]), low[k]) for k in range(sections) for i in (0, 1)]
    north = [(float(edges[k + i]), low[k] + d) for k in reversed(range(sections)) for i in (1, 0)]
    return translate(Polygon([*south, *north]), 0.0, -step * (sections - 1) / 2)


def courtyard(w: float, d: float, rng: Rng) -> Polygon:
    """Return wings around a court."""
    wing = min(w, d) * rng.uniform(0.25, 0.3)
    inner = rectangle(w - 2 * wing, d - 2 * wing)
    return Polygon(rectangle(w, d).exterior.coords, [list(inner.exterior.coords)[::-1]])


def comb(w: float, d: float, rng: Rng) -> Polygon:
    """Return an E: a spine along the south with three wings."""
    arm, spine = w * rng.uniform(0.17, 0.21), d * rng.uniform(0.3, 0.4)
    x, y, m = w / 2, d / 2, arm / 2
    inner = -y + spine
    wings = [(x, -y), (x, y), (x - arm, y), (x - arm, inner), (m, inner), (m, y), (-m, y), (-m, inner)]
    return Polygon([(-x, -y), *wings, (-x + arm, inner), (-x + arm, y), (-x, y)])


def round_tank(w: float, _d: float = 0.0, _rng: Rng | None = None, sides: int = 18) -> Polygon:
    """Return a tank or a chimney."""
    angles = np.linspace(0, 2 * math.pi, sides, endpoint=False)
    return Polygon(np.stack([w / 2 * np.cos(angles), w / 2 * np.sin(angles)], axis=1))


def plain(w: float, d: float, _rng: Rng) -> Polygon:
    """Return a rectangle, in the signature of the other forms."""
    return rectangle(w, d)


Form = Callable[[float, float, Rng], Polygon]


def put(shape: Polygon, where: tuple[float, float], turn: float) -> Polygon:
    """Return a form at a place, turned (radians, counter-clockwise)."""
    return shapely.orient_polygons(translate(rotate(shape, turn, origin=(0, 0), use_radians=True), *where))
