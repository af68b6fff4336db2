"""The road network as a graph: cut where lines meet, travel times by class, one-way streets, places snapped to edges.

Shortest paths: Dijkstra of scipy.sparse.csgraph over compressed rows.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from shapely.ops import substring

from cim.catalog.assumptions import Assumptions
from cim.catalog.model import CodeList

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Shapes = NDArray[np.object_]
SNAP_M = 0.05  # ends nearer than this are one node; an end this near another line's inside cuts it
AGAINST = ("-1", "reverse", "t", "反向", "逆向")
ONE_WAY = ("yes", "true", "1", "f", "是", "单行", "正向", *AGAINST)


@dataclass(frozen=True)
class Graph:
    """n nodes and m directed edges."""

    xy: Float  # (n, 2) metres, the city's CRS
    source: Int  # (m,)
    target: Int  # (m,)
    seconds: Float  # (m,)
    length_m: Float  # (m,)
    lines: Shapes  # (m,) LineStrings, run from source to target

    @cached_property
    def tree(self) -> shapely.STRtree:
        """The edges' lines, for snapping."""
        return shapely.STRtree(self.lines)


def open_to(roads: gpd.GeoDataFrame, classes: CodeList | None, mode: str) -> gpd.GeoDataFrame:
    """Return the roads that a mode of travel may use; a road whose class isn't known is open to all.

    Args:
        roads: column use, the class of each.
        classes: the code list of classes, whose codes say to which modes they are closed (`closed_to`).
        mode: such as `drive`.

    """
    closed = {code.value for code in classes.codes if mode in code.closed_to} if classes else set()
    return roads[~roads["use"].isin(closed)].reset_index(drop=True) if closed and "use" in roads else roads


def road_graph(roads: gpd.GeoDataFrame, assumptions: Assumptions) -> Graph:
    """Return the graph of a network of centre lines.

    Lines join where an end lies on another's end or inside; two that cross without an end there, such as a bridge and
    the road below it, don't.

    Args:
        roads: geometry (lines, metres), and where known: use (class), speed (km/h), oneway.
        assumptions: `drive_speed` by class, where a road has no speed of its own.

    """
    parts, row = shapely.get_parts(roads.geometry.to_numpy(), return_index=True)
    parts = shapely.force_2d(parts)
    pieces, piece_row = _cut_where_others_end(parts, row)
    kmh = _speeds(roads, assumptions)[piece_row]
    length = shapely.length(pieces)
    keep = length > 0
    pieces, piece_row, kmh, length = pieces[keep], piece_row[keep], kmh[keep], length[keep]
    ends = np.concatenate([_end(pieces, 0), _end(pieces, -1)])
    xy, node = _nodes(ends)
    a, b = node[: len(pieces)], node[len(pieces) :]
    seconds = length / (kmh / 3.6)
    with_line, against = _directions(roads, piece_row)
    return Graph(
        xy=xy,
        source=np.concatenate([a[with_line], b[against]]),
        target=np.concatenate([b[with_line], a[against]]),
        seconds=np.concatenate([seconds[with_line], seconds[against]]),
        length_m=np.concatenate([length[with_line], length[against]]),
        lines=np.concatenate([pieces[with_line], shapely.reverse(pieces[against])]),
    )


def _end(lines: Shapes, which: int) -> Float:
    return np.asarray(shapely.get_coordinates(shapely.get_point(lines, which)))


def _cut_where_others_end(lines: Shapes, row: Int) -> tuple[Shapes, Int]:
    """Cut lines where another's end lies on their inside."""
    if not len(lines):
        return lines, row
    ends = shapely.points(np.concatenate([_end(lines, 0), _end(lines, -1)]))
    end, line = shapely.STRtree(lines).query(ends, predicate="dwithin", distance=SNAP_M)
    along = shapely.line_locate_point(lines[line], ends[end])
    inside = (along > SNAP_M) & (along < shapely.length(lines[line]) - SNAP_M)
    cuts: dict[int, list[float]] = {}
    for k, place in zip(line[inside].tolist(), along[inside].tolist(), strict=True):
        cuts.setdefault(k, []).append(place)
    pieces: list[shapely.LineString] = []
    owner: list[int] = []
    for k, whole in enumerate(lines):
        if k not in cuts:
            pieces.append(whole)
            owner.append(int(row[k]))
            continue
        places = [0.0, *sorted(cuts[k]), float(whole.length)]
        for low, high in pairwise(places):
            if high - low > SNAP_M:
                pieces.append(substring(whole, low, high))
                owner.append(int(row[k]))
    return np.array(pieces, object), np.array(owner, np.int64)


def _nodes(ends: Float) -> tuple[Float, Int]:
    """Return one node for ends nearer than SNAP_M, and the node of each end."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if not len(ends):
        return ends, np.empty(0, np.int64)
    pairs = cKDTree(ends).query_pairs(SNAP_M, output_type="ndarray")
    links = csr_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(ends), len(ends)))
    count, node = connected_components(links, directed=False)
    size = np.bincount(node, minlength=count)
    xy = np.stack([np.bincount(node, ends[:, k], minlength=count) / size for k in (0, 1)], axis=1)
    return xy, node.astype(np.int64)


def _speeds(roads: gpd.GeoDataFrame, assumptions: Assumptions) -> Float:
    classes = roads["use"].to_list() if "use" in roads else [None] * len(roads)
    by_class = {c: assumptions.get("drive_speed", c if isinstance(c, str) else None) for c in dict.fromkeys(classes)}
    kmh = np.array([by_class[c] for c in classes], np.float64)
    if "speed" in roads:
        recorded_kmh = roads["speed"].to_numpy(dtype=np.float64, na_value=np.nan)
        kmh = np.where(recorded_kmh > 0, recorded_kmh, kmh)
    return kmh


def _directions(roads: gpd.GeoDataFrame, row: Int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pieces may be driven with their line, and which against it."""
    if "oneway" not in roads:
        return np.ones(len(row), bool), np.ones(len(row), bool)
    oneway = [str(v).strip().casefold() if isinstance(v, str | int | bool) else "" for v in roads["oneway"]]
    one = np.array([v in ONE_WAY for v in oneway])[row]
    back = np.array([v in AGAINST for v in oneway])[row]
    return ~back, ~one | back


@dataclass(frozen=True)
class Snapped:
    """Places (k,) on the network: the edge, how far along it, and how far the place lies from it."""

    edge: Int
    along_m: Float
    away_m: Float


def snap(graph: Graph, places: Shapes) -> Snapped:
    """Return where places reach the network: the nearest edge."""
    if not len(graph.lines):
        raise ValueError("a network without roads")
    edge = graph.tree.nearest(places)
    lines = graph.lines[edge]
    return Snapped(edge, shapely.line_locate_point(lines, places), shapely.distance(lines, places))


@dataclass(frozen=True)
class Travel:
    """Travel from origins: seconds to every node (n,), and the tree of fastest ways."""

    graph: Graph  # with a node for each origin and destination, n = nodes + origins + destinations
    seconds: Float  # (n,), inf: not reached
    before: Int  # (n,) node before on the fastest way, negative: none
    origin_nodes: Int
    destination_nodes: Int

    def way(self, node: int) -> Int:
        """Return the nodes of the fastest way to a node, from its origin."""
        nodes = [node]
        while (previous := int(self.before[nodes[-1]])) >= 0:
            nodes.append(previous)
        return np.array(nodes[::-1], np.int64)

    def line(self, node: int) -> tuple[shapely.LineString | None, float]:
        """Return the fastest way to a node as a line, and its length in metres."""
        nodes = self.way(node)
        if len(nodes) < 2:
            return None, 0.0
        edge_of = self._fastest_edges
        pairs = zip(nodes[:-1].tolist(), nodes[1:].tolist(), strict=True)
        edges = [edge_of[pair] for pair in pairs]
        xy = np.concatenate([shapely.get_coordinates(self.graph.lines[e]) for e in edges])
        distinct = np.append(True, np.abs(np.diff(xy, axis=0)).max(axis=1) > 1e-6)
        return shapely.LineString(xy[distinct]) if distinct.sum() > 1 else None, float(self.graph.length_m[edges].sum())

    @cached_property
    def _fastest_edges(self) -> dict[tuple[int, int], int]:
        order = np.argsort(-self.graph.seconds, kind="stable")  # of parallel edges the fastest is written last
        pairs = zip(self.graph.source[order].tolist(), self.graph.target[order].tolist(), strict=True)
        return dict(zip(pairs, order.tolist(), strict=True))


def travel(graph: Graph, origins: Shapes, destinations: Shapes | None = None, limit_s: float = np.inf) -> Travel:
    """Return the fastest travel from the nearest of some places to the whole network and to other places.

    Args:
        graph: the network.
        origins: points.
        destinations: points; they become nodes too.
        limit_s: farther isn't looked for.

    """
    ends = np.empty(0, object) if destinations is None else destinations
    widened, nodes = _with_places(graph, np.concatenate([origins, ends]), len(origins))
    n = len(widened.xy)
    # of parallel edges the fastest counts; a matrix would add them up
    order = np.lexsort((widened.seconds, widened.target, widened.source))
    source, target = widened.source[order], widened.target[order]
    first = np.append(True, (source[1:] != source[:-1]) | (target[1:] != target[:-1])) if len(source) else order > 0
    weight = np.maximum(widened.seconds[order][first], 1e-9)  # a stored zero is no edge
    matrix = csr_array((weight, (source[first], target[first])), shape=(n, n))
    seconds, before, _ = dijkstra(
        matrix, directed=True, indices=nodes[: len(origins)], min_only=True, return_predecessors=True, limit=limit_s
    )
    return Travel(widened, seconds, before.astype(np.int64), nodes[: len(origins)], nodes[len(origins) :])


def _with_places(graph: Graph, places: Shapes, origins: int) -> tuple[Graph, Int]:
    """Return the graph with a node for each place, joined to the ends of its edge, and to places on the same edge."""
    snapped = snap(graph, places)
    base = len(graph.xy)
    source, target, share, lines, of_edge = [], [], [], [], []

    def join(a: int, b: int, edge: int, low: float, high: float) -> None:
        whole = graph.length_m[edge]
        source.append(a)
        target.append(b)
        share.append((high - low) / whole)
        lines.append(substring(graph.lines[edge], low, high))
        of_edge.append(edge)

    twin_of = _twins(graph)
    for k in range(len(places)):
        edge, along = int(snapped.edge[k]), float(snapped.along_m[k])
        for directed, place in _both_ways(edge, along, graph, twin_of):
            if k < origins:
                join(base + k, int(graph.target[directed]), directed, place, float(graph.length_m[directed]))
                for other in range(origins, len(places)):
                    for edge_2, place_2 in _both_ways(
                        int(snapped.edge[other]), float(snapped.along_m[other]), graph, twin_of
                    ):
                        if edge_2 == directed and place_2 >= place:
                            join(base + k, base + other, directed, place, place_2)
            else:
                join(int(graph.source[directed]), base + k, directed, 0.0, place)
    edges = np.array(of_edge, np.int64)
    part = np.array(share, np.float64)
    on_edges = shapely.get_coordinates(shapely.line_interpolate_point(graph.lines[snapped.edge], snapped.along_m))
    widened = Graph(
        xy=np.concatenate([graph.xy, on_edges]),
        source=np.concatenate([graph.source, np.array(source, np.int64)]),
        target=np.concatenate([graph.target, np.array(target, np.int64)]),
        seconds=np.concatenate([graph.seconds, graph.seconds[edges] * part]),
        length_m=np.concatenate([graph.length_m, graph.length_m[edges] * part]),
        lines=np.concatenate([graph.lines, np.array(lines, object)]),
    )
    return widened, np.arange(base, base + len(places))


def _twins(graph: Graph) -> dict[tuple[int, int, int], list[int]]:
    """Return the edges by their ends, whichever way, and length: a street and its other direction."""
    twins: dict[tuple[int, int, int], list[int]] = {}
    low, high = np.minimum(graph.source, graph.target), np.maximum(graph.source, graph.target)
    millimetres = np.rint(graph.length_m * 1000).astype(np.int64)
    for edge, key in enumerate(zip(low.tolist(), high.tolist(), millimetres.tolist(), strict=True)):
        twins.setdefault(key, []).append(edge)
    return twins


def _both_ways(
    edge: int, along: float, graph: Graph, twins: dict[tuple[int, int, int], list[int]]
) -> list[tuple[int, float]]:
    """Return the edge and its other direction, and where on them a place is."""
    a, b = int(graph.source[edge]), int(graph.target[edge])
    key = (min(a, b), max(a, b), round(float(graph.length_m[edge]) * 1000))
    other_ways = [
        (other, float(graph.length_m[other]) - along)
        for other in twins.get(key, [])
        if other != edge and shapely.equals_exact(graph.lines[other], shapely.reverse(graph.lines[edge]), 1e-6)
    ]
    return [(edge, along), *other_ways]


def reached(travelled: Travel, limit_s: float) -> shapely.MultiLineString:
    """Return the streets, and parts of streets, that are reached within a time."""
    graph = travelled.graph
    left = limit_s - travelled.seconds[graph.source]
    on = np.flatnonzero(left > 0)
    share = np.minimum(left[on] / np.maximum(graph.seconds[on], 1e-9), 1.0)
    whole = graph.lines[on[share >= 1]]
    cut = [
        substring(graph.lines[e], 0, s, normalized=True) for e, s in zip(on[share < 1], share[share < 1], strict=True)
    ]
    lines = [line for line in [*whole, *cut] if line.geom_type == "LineString" and line.length > 0]
    return shapely.MultiLineString(lines)


def reached_area(streets: shapely.MultiLineString, frontage_m: float) -> shapely.MultiPolygon:
    """Return the land along reached streets; of none, an empty one.

    The pieces are widened one by one and united once: the same area as widening them together, in a tenth of the time.
    """
    pieces = shapely.buffer(shapely.get_parts(streets), frontage_m, quad_segs=6)
    area = shapely.union_all(pieces) if len(pieces) else shapely.MultiPolygon()
    return area if area.geom_type == "MultiPolygon" else shapely.MultiPolygon([area] if not area.is_empty else [])
