"""Survey points as text without a row of names: CASS .dat (`point,code,east,north,height`) and its relatives.

Lines have five values (name, code, x, y, h), four (name, x, y, h) or three (x, y, h), with commas, semicolons, tabs or
spaces between. x is the easting, as CASS writes it; where a declared CRS holds the points only the other way round,
northing first, they are read so, with a warning.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from cim.errors import UndecidableEncoding, UnreadableFile
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source
from cim.messages import say
from cim.reference.crs import lands_in_area, split
from ingest.formats.vector import delimited as table

POINT = "survey:point"
_LOOKED_AT = 200  # lines that tell how the file is written
_FORMS = {5: ("name", "code", "x", "y", "h"), 4: ("name", "x", "y", "h"), 3: ("x", "y", "h")}
_SEPARATOR = re.compile(r"\s*[,;\t，]\s*|\s+")
_COMMENT = ("#", "//", "END")


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read survey points; a text with a row of names is read as a table.

    Raises:
        UnreadableFile: its lines aren't points.
        UndecidableEncoding: it is neither UTF-8 nor GBK, and no option says what it is.

    """
    encoding = options.encoding or table.encoding_of(path)
    lines = [values for _, values in islice(_lines(path, encoding), _LOOKED_AT)]
    if lines and not _is_point(lines[0]) and any(_is_number(value) for line in lines[1:] for value in line):
        yield from table.read(path, options)
        return
    widths = Counter(len(line) for line in lines if _is_point(line))
    if not widths:
        raise UnreadableFile(say("no-survey-points", file=path))
    form = _FORMS[widths.most_common(1)[0][0]]
    swapped = _is_swapped(lines, form, options)
    warnings = (say("northing-first"),) if swapped else ()
    named_layer = options.catalog.named_by((path.stem,))
    header = Header(layer_hint=path.stem, warnings=warnings)
    yield Source(header, _batches(path, encoding, form, swapped, None if named_layer else POINT))


def is_points(line: str) -> bool:
    """Whether a line is a survey point rather than a row of names."""
    return _is_point(_values(line))


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding=encoding) as file:
            for number, line in enumerate(file, start=1):
                text = line.strip().lstrip("\ufeff")
                if text and not text.startswith(_COMMENT):
                    yield number, _values(text)
    except (LookupError, UnicodeDecodeError) as fault:
        raise UndecidableEncoding(say("not-readable", file=path, encoding=encoding, reason=fault)) from fault


def _values(line: str) -> list[str]:
    """Split at commas where there are any, so that an empty code keeps its place; else at spaces."""
    text = line.strip()
    for mark in (",", "，", ";", "\t"):
        if mark in text:
            return [value.strip() for value in text.split(mark)]
    return text.split()


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _is_point(values: list[str]) -> bool:
    return len(values) in _FORMS and all(map(_is_number, values[-3:]))


def _is_swapped(lines: list[list[str]], form: tuple[str, ...], options: ReadOptions) -> bool:
    if options.crs is None:
        return False
    points = np.array([[float(v) for v in line[-3:-1]] for line in lines if len(line) == len(form) and _is_point(line)])
    horizontal, _ = split(options.crs)
    first, second = points[:, 0], points[:, 1]
    return not lands_in_area(horizontal, first, second) and lands_in_area(horizontal, second, first)


def _batches(
    path: Path, encoding: str, form: tuple[str, ...], swapped: bool, object_class: str | None
) -> Iterator[Features]:
    lines = _lines(path, encoding)
    while batch := list(islice(lines, BATCH_SIZE)):
        points = [(number, values) for number, values in batch if len(values) == len(form) and _is_point(values)]
        good = [values for _, values in points]
        refused = tuple(
            Refusal(
                f"line {number}",
                say("not-point", form=", ".join(form), values=" ".join(values)[:60]),
                {"line": ",".join(values)},
            )
            for number, values in batch
            if len(values) != len(form) or not _is_point(values)
        )
        xyz = np.array([[float(v) for v in values[-3:]] for values in good], np.float64).reshape(-1, 3)
        count = len(good)
        attributes: list[dict[str, Any]] = [
            {key: value for key, value in zip(form[:-3], values, strict=False) if value} for values in good
        ]
        yield Features(
            ids=[a.get("name") for a in attributes],
            attributes=attributes,
            geometry=np.asarray(shapely.points(xyz[:, [1, 0, 2]] if swapped else xyz), object).reshape(count),
            object_class=[object_class] * count,
            parent_id=[None] * count,
            refused=refused,
            places=[f"line {number}" for number, _ in points],
        )
