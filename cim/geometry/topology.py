"""Rules that the objects of a layer keep among each other: no overlap, no gap, one network. Arrays in and out.

Coordinates are in a metric CRS; a finding names the objects by their positions, and says how far off they are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Shapes = NDArray[Any]  # object array of shapely geometries

SLIVER_M2 = 0.01  # less of an overlap or gap is the rounding of coordinates,
SLIVER_M = 0.02  # and so is one that is narrower on average
SAME_NODE_M = 0.01
UNDERSHOOT_M = 2.0  # an end that stops this near another line was meant to meet it


@dataclass(frozen=True)
class Finding:
    """A place where a rule is broken."""

    rule: str  # overlap, gap, undershoot, island
    members: tuple[int, ...]  # positions of the objects
    amount: float  # m² of an overlap or a gap, m of an undershoot, lines of an island
    shape: Any


def overlaps(shapes: Shapes, least_share: float = 0.0) -> list[Finding]:
    """Return where two polygons share more than a sliver.

    Args:
        shapes: (n,) polygons.
        least_share: of the smaller one, below which an overlap doesn't count.

    """
    if len(shapes) < 2:
        return []
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    a, b = a[a < b], b[a < b]
    # two that only touch have no inner points in common; that is far cheaper to ask than what they share
    inner = shapely.relate_pattern(shapes[a], shapes[b], "T********")
    a, b = a[inner], b[inner]
    shared = shapely.intersection(shapes[a], shapes[b])
    area = shapely.area(shared)
    smaller = np.minimum(shapely.area(shapes[a]), shapely.area(shapes[b]))
    wrong = np.flatnonzero(_is_wide(shared) & (area > least_share * smaller))
    return [Finding("overlap", (int(a[k]), int(b[k])), float(area[k]), shared[k]) for k in wrong]


def _is_wide(shapes: Shapes) -> NDArray[np.bool_]:
    """Return which areas are more than the rounding of coordinates: in area, and in width, twice area by outline."""
    area, outline = shapely.area(shapes), np.maximum(shapely.length(shapes), 1e-9)
    return np.asarray((area > SLIVER_M2) & (2 * area / outline > SLIVER_M))


def gaps(shapes: Shapes) -> list[Finding]:
    """Return the holes that polygons leave between them, each with those around it."""
    if len(shapes) < 2:
        return []
    whole = shapely.get_parts(shapely.union_all(shapes))
    inside = [shapely.get_interior_ring(part, k) for part in whole for k in range(shapely.get_num_interior_rings(part))]
    if not inside:
        return []
    holes = shapely.polygons(np.array(inside, object))
    holes = holes[_is_wide(holes)]
    tree = shapely.STRtree(shapes)
    findings = []
    for hole, area in zip(holes, shapely.area(holes), strict=True):
        around = np.unique(tree.query(shapely.buffer(hole, SAME_NODE_M), predicate="intersects"))
        # a hole that one polygon has itself is its own, an inner court or a lake
        if len(around) > 1:
            findings.append(Finding("gap", tuple(around.tolist()), float(area), hole))
    return findings


def network_faults(lines: Shapes) -> list[Finding]:
    """Return lines that hang apart from the largest connected network, and ends that stop just short of a line.

    Lines meet at their ends, or where an end of one lies on another.
    """
    parts, line = shapely.get_parts(lines, return_index=True)
    if not len(parts):
        return []
    ends = np.concatenate([shapely.get_point(parts, 0), shapely.get_point(parts, -1)])
    part = np.concatenate([np.arange(len(parts))] * 2)
    tree = shapely.STRtree(parts)
    end, met = tree.query(ends, predicate="dwithin", distance=SAME_NODE_M)
    from scipy.sparse import coo_array  # a second of imports, which few loads need
    from scipy.sparse.csgraph import connected_components

    joined = coo_array((np.ones(len(end)), (part[end], met)), shape=(len(parts), len(parts)))
    _, component = connected_components(joined, directed=False)
    return _islands(parts, line, component) + _undershoots(tree, parts, line, ends, part, component)


def _islands(parts: Shapes, line: NDArray[np.int64], component: NDArray[np.int32]) -> list[Finding]:
    size = np.bincount(component)
    findings = []
    for small in np.flatnonzero(np.arange(len(size)) != size.argmax()):
        members = np.unique(line[component == small])
        shape = shapely.multilinestrings(parts[component == small])
        findings.append(Finding("island", tuple(members.tolist()), float(len(members)), shape))
    return findings


def _undershoots(
    tree: shapely.STRtree,
    parts: Shapes,
    line: NDArray[np.int64],
    ends: Shapes,
    part: NDArray[np.int64],
    component: NDArray[np.int32],
) -> list[Finding]:
    end, near = tree.query(ends, predicate="dwithin", distance=UNDERSHOOT_M)
    apart = component[part[end]] != component[near]
    end, near = end[apart], near[apart]
    distance = shapely.distance(ends[end], parts[near])
    order = np.lexsort((distance, end))
    _, first = np.unique(end[order], return_index=True)
    return [
        Finding("undershoot", (int(line[part[end[k]]]), int(line[near[k]])), float(distance[k]), ends[end[k]])
        for k in order[first]
    ]


def rule_faults(rule: str, shapes: Shapes) -> list[Finding]:
    """Return where the objects of a layer break its rule: `coverage`, `disjoint` or `network`."""
    if rule == "network":
        return network_faults(shapes)
    if rule == "coverage":
        return overlaps(shapes) + gaps(shapes)
    return overlaps(shapes, least_share=0.1)
