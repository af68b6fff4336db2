"""The quality report of a load as one HTML file: figures, a map, plots, findings, in two languages by a switch."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cim.messages import say, told
from services.http.pages import render_alone

WIDTH, TALLEST, MARGIN = 960.0, 620.0, 14.0  # of the map, in its own units
COLOURS = ("#1f6f5c", "#3b6ea8", "#a8743b", "#7a4fa3", "#4f8a3b", "#b0507a", "#5d7180")
LEAST_SPAN_M = 50.0  # a map of one point still shows some ground


FLAGS = {  # of a version → its title
    "not_planar": say("flag-not-planar"),
    "zero_area": say("flag-zero-area"),
    "not_orientable": say("flag-not-orientable"),
    "not_manifold": say("flag-not-manifold"),
    "self_intersection": say("flag-self-intersection"),
    "faces_cross": say("flag-faces-cross"),
    "height_from_storeys": say("flag-height-from-storeys"),
    "no_height": say("flag-no-height"),
    "unknown_code": say("flag-unknown-code"),
}


class Drawn(NamedTuple):
    """A layer on the map: all its outlines as one path, its points as another."""

    title: dict[str, str]
    colour: str
    lines: str
    areas: str
    points: str


class Frame(NamedTuple):
    """From metres in the city's CRS to the map: x grows to the right, y downwards."""

    west: float
    north: float
    scale: float  # map units a metre
    height: float

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (n, 2) on the map."""
        moved = (points - [self.west, self.north]) * [self.scale, -self.scale]
        return np.round(moved + MARGIN, 1)


def quality_page(load_record: dict[str, Any], city: str, language: str = "zh") -> str:
    """Render what is known of a load (`cim.loads.quality.read_quality`) as a page that needs nothing but itself."""
    quality = load_record.get("quality") or {"layers": [], "refused": []}
    places = [place for layer in quality["layers"] for finding in layer["findings"] for place in finding["places"]]
    frame = _frame(quality, [place["at"] for place in (*places, *quality["refused"])])
    return render_alone(
        "quality.html",
        {
            "known": load_record,
            "layers": quality["layers"],
            "files": (load_record.get("report") or {}).get("files", []),
            "totals": _totals((load_record.get("report") or {}).get("files", [])),
            "map": _map(quality, frame, language) if frame else None,
            "bars": bars,
            "flags": FLAGS,
            "language": language,
        },
        city,
    )


def _totals(files: Iterable[dict[str, Any]]) -> dict[str, int]:
    names = ("read", "loaded", "updated", "unchanged", "ended", "refused")
    return {name: sum(int(file.get(name) or 0) for file in files) for name in names}


def _frame(quality: dict[str, Any], places: Sequence[Sequence[float]]) -> Frame | None:
    lines = [np.asarray(line, float) for layer in quality["layers"] for line in layer["shapes"] if line]
    points = [*lines, *([np.asarray(places, float)] if len(places) else [])]
    if not points:
        return None
    every = np.concatenate(points)
    (west, south), (east, north) = every.min(axis=0), every.max(axis=0)
    span_x, span_y = max(east - west, LEAST_SPAN_M), max(north - south, LEAST_SPAN_M)
    scale = min((WIDTH - 2 * MARGIN) / span_x, (TALLEST - 2 * MARGIN) / span_y)
    return Frame(float(west), float(north), float(scale), float(span_y * scale + 2 * MARGIN))


def _map(quality: dict[str, Any], frame: Frame, language: str) -> dict[str, Any]:
    metres = _round_length((WIDTH / 5) / frame.scale)
    return {
        "width": WIDTH,
        "height": round(frame.height, 1),
        "layers": [_drawn(layer, COLOURS[k % len(COLOURS)], frame) for k, layer in enumerate(_widest_first(quality))],
        "findings": [
            {"at": frame.place(np.array(place["at"])).tolist(), "said": f"{finding['rule']}: {', '.join(place['ids'])}"}
            for layer in quality["layers"]
            for finding in layer["findings"]
            for place in finding["places"]
        ],
        "refused": [
            {
                "at": frame.place(np.array(record["at"])).tolist(),
                "said": f"{record['id']}: {told(record['reason'], language)}",
            }
            for record in quality["refused"]
        ],
        "bar": {
            "length": round(metres * frame.scale, 1),
            "said": f"{metres:g} m" if metres < 1000 else f"{metres / 1000:g} km",
        },
    }


def _widest_first(quality: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layers in an order in which what is large lies below what is small."""

    def size(layer: dict[str, Any]) -> float:
        spans = [np.ptp(np.asarray(line, float), axis=0).max() for line in layer["shapes"] if line]
        return float(np.mean(spans)) if spans else 0.0

    return sorted((layer for layer in quality["layers"] if layer["shapes"]), key=size, reverse=True)


def _drawn(layer: dict[str, Any], colour: str, frame: Frame) -> Drawn:
    shapes = [frame.place(np.asarray(line, float)) for line in layer["shapes"] if line]
    areas = [line for line in shapes if len(line) > 3 and (line[0] == line[-1]).all()]
    lines = [line for line in shapes if len(line) > 1 and not (len(line) > 3 and (line[0] == line[-1]).all())]
    points = [line for line in shapes if len(line) == 1]
    return Drawn(
        layer["title"], colour, _path(lines), _path(areas, closed=True), _path([np.repeat(p, 2, 0) for p in points])
    )


def _path(lines: Iterable[NDArray[np.float64]], *, closed: bool = False) -> str:
    end = "z" if closed else ""
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in line) + end for line in lines)


def _round_length(metres: float) -> float:
    """Return the largest 1, 2 or 5 × 10ⁿ that is no longer."""
    power = 10.0 ** np.floor(np.log10(metres))
    return float(max(step * power for step in (1, 2, 5) if step * power <= metres))


def bars(histogram: Sequence[int]) -> str:
    """Return the path of a histogram's bars in a box of 120 × 30."""
    if not histogram:
        return ""
    most, wide = max(1, *histogram), 120 / len(histogram)
    heights = [30 * number / most if not number else max(30 * number / most, 1.0) for number in histogram]
    return "".join(f"M{k * wide:.1f} 30v{-h:.1f}h{wide - 1:.1f}v{h:.1f}z" for k, h in enumerate(heights) if h)
