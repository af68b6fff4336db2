"""OpenSceneGraph's text form, as its converter writes it: textured triangles, and which files are finer.

A file is a nest of blocks in braces. An object that stands a second time is named by its UniqueID alone.
"""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cim.messages import say

Float = NDArray[np.float64]

_LINE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]|[^\s{}]+', re.DOTALL)
_TRIANGLES, _STRIP, _FAN = "TRIANGLES", "TRIANGLE_STRIP", "TRIANGLE_FAN"
_MODES = {6407: "RGB", 6408: "RGBA", 6409: "L"}  # GL_RGB, GL_RGBA, GL_LUMINANCE
_UNSIGNED_BYTE = 5121
JPEG_QUALITY = 88


@dataclass
class Part:
    """Triangles of one texture."""

    points: Float  # (n, 3)
    uv: NDArray[np.float32] | None  # (n, 2), from the first row of the image
    triangles: NDArray[np.uint32]  # (t, 3)
    image: bytes | None  # JPEG or PNG
    colour: tuple[float, float, float] = (0.8, 0.8, 0.8)


@dataclass
class Paged:
    """What is drawn until a finer file takes its place."""

    parts: list[Part] = field(default_factory=list)
    finer: list[str] = field(default_factory=list)  # names of files
    error_m: float = 0.0  # geometric error below which the finer ones are needed
    lost: int = 0  # geometries of other forms than triangles, textures of unknown forms


@dataclass
class _Block:
    head: list[str]
    words: list[str] = field(default_factory=list)  # that stand in it outside of blocks
    blocks: list["_Block"] = field(default_factory=list)

    def first(self, name: str) -> "_Block | None":
        return next((b for b in self.blocks if b.head and b.head[0] == name), None)

    def after(self, word: str, count: int = 1) -> list[str]:
        """Return the words that follow one."""
        if word not in self.words:
            return []
        place = self.words.index(word)
        return self.words[place + 1 : place + 1 + count]


SCREEN_ERROR_PX = 16.0  # of a viewer's setting for tiles
_VIEW = 1.15 / 1080  # metres a pixel at a metre's distance: a field of view of 60° over a screen


def read_scene(text: str) -> list[Paged]:
    """Return what a file shows: for each of its paged levels what is drawn, and what replaces it; the rest as one.

    Raises:
        ValueError: the text breaks off, or isn't of this form.

    """
    root = _parse(text)
    reader = _Reader()
    reader.visit(root, np.eye(4), None)
    return [*reader.paged, *([reader.loose] if reader.loose.parts else [])]


def _parse(text: str) -> _Block:
    root = _Block([])
    stack = [root]
    line: list[str] = []
    for match in _LINE.finditer(text):
        word = match[0]
        if word == "{":
            # what opens a block are the words since the last line that was complete; its name is the last of them
            block = _Block(_head(line))
            del line[len(line) - len(block.head) :]
            stack[-1].words += line
            line = []
            stack[-1].blocks.append(block)
            stack.append(block)
        elif word == "}":
            stack[-1].words += line
            line = []
            stack.pop()
            if not stack:
                raise ValueError(say("brace-closes-what-none-opened"))
        else:
            line.append(word)
    if len(stack) != 1:
        raise ValueError(say("text-breaks-off"))
    return root


def _head(line: list[str]) -> list[str]:
    """Return the words of a line that begin a block: its name, and a number or TRUE behind it."""
    if len(line) >= 2 and (line[-1] in ("TRUE", "FALSE") or line[-1].isdigit()):
        return line[-2:]
    return line[-1:]


class _Reader:
    def __init__(self) -> None:
        self.paged: list[Paged] = []
        self.loose = Paged()
        self._known: dict[str, _Block] = {}

    def visit(self, block: _Block, matrix: Float, into: Paged | None) -> None:
        kind = block.head[0] if block.head else ""
        if kind == "osg::MatrixTransform" and (inner := block.first("Matrix")):
            matrix = np.array(inner.words[:16], float).reshape(4, 4) @ matrix
        if kind == "osg::PagedLOD":
            into = self._paged(block)
        elif kind == "osg::Geometry":
            self._geometry(self._whole(block), matrix, into or self.loose)
            return
        for child in block.blocks:
            self.visit(child, matrix, into)

    def _paged(self, block: _Block) -> Paged:
        made = Paged()
        names = block.first("RangeDataList")
        made.finer = [word.strip('"') for word in (names.words if names else []) if word.strip('"')]
        ranges = np.array(block.first("RangeList").words, float).reshape(-1, 2) if block.first("RangeList") else None  # type: ignore[union-attr]
        if made.finer and ranges is not None and len(ranges):
            radius = float((block.after("UserCenter", 4) or ["0"] * 4)[3])
            made.error_m = _error(block.after("RangeMode"), ranges, radius)
        self.paged.append(made)
        return made

    def _whole(self, block: _Block) -> _Block:
        """Return an object where it is written out."""
        name = (block.after("UniqueID") or [""])[0]
        if not block.blocks and name in self._known:
            return self._known[name]
        if name:
            self._known.setdefault(name, block)
        return block

    def _geometry(self, block: _Block, matrix: Float, into: Paged) -> None:
        points = self._vector(block.first("VertexArray"), 3)
        if points is None:
            return
        triangles = [t for t in self._triangles(block, into) if len(t)]
        if not triangles:
            return
        points = points @ matrix[:3, :3] + matrix[3, :3]
        coordinates = block.first("TexCoordArrayList")
        uv = self._vector(coordinates, 2) if coordinates else None
        image = self._image(block, into) if uv is not None else None
        joined = np.concatenate(triangles).astype(np.uint32)
        into.parts.append(
            Part(points, None if uv is None else uv.astype(np.float32), joined, image, self._colour(block))
        )

    def _vector(self, block: _Block | None, width: int) -> Float | None:
        """Return the numbers of the first vector in a block."""
        if block is None:
            return None
        for inner in _below(block):
            array = self._whole(inner)
            numbers = array.first("vector")
            if numbers is not None:
                values = np.array(numbers.words, np.float64)
                return values.reshape(-1, width) if len(values) % width == 0 else None
        return None

    def _triangles(self, block: _Block, into: Paged) -> Iterator[NDArray[np.int64]]:
        sets = block.first("PrimitiveSetList")
        for primitive in [self._whole(b) for b in sets.blocks] if sets else []:
            mode = (primitive.after("Mode") or [""])[0]
            numbers = primitive.first("vector")
            if numbers is not None:
                order = np.array(numbers.words, np.int64)
            else:
                first, count = (int((primitive.after(key) or ["0"])[0]) for key in ("First", "Count"))
                order = np.arange(first, first + count)
            made = _as_triangles(mode, order)
            if made is None:
                into.lost += 1
            else:
                yield made

    def _colour(self, block: _Block) -> tuple[float, float, float]:
        for inner in _below(block):
            if inner.head and inner.head[0] == "osg::Material":
                words = self._whole(inner).after("Diffuse", 6)
                if len(words) == 6:
                    return float(words[2]), float(words[3]), float(words[4])
        return 0.8, 0.8, 0.8

    def _image(self, block: _Block, into: Paged) -> bytes | None:
        state = block.first("StateSet")
        if state is None:
            return None
        for inner in _below(self._state(state)):
            if inner.head and inner.head[0].startswith("osg::Texture2D"):
                image = self._whole(inner).first("Image")
                picture = _picture(self._whole(image)) if image is not None else None
                into.lost += image is not None and picture is None
                return picture
        return None

    def _state(self, state: _Block) -> _Block:
        inner = next(iter(state.blocks), None)
        return self._whole(inner) if inner is not None else state


def _below(block: _Block) -> Iterator[_Block]:
    for inner in block.blocks:
        yield inner
        yield from _below(inner)


def _as_triangles(mode: str, order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    if mode == _TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if mode in (_STRIP, _FAN) and len(order) >= 3:
        k = np.arange(len(order) - 2)
        if mode == _FAN:
            return np.column_stack([np.full(len(k), order[0]), order[k + 1], order[k + 2]])
        odd = k % 2
        return np.column_stack([order[k + odd], order[k + 1 - odd], order[k + 2]])
    return None


def _error(mode: list[str], ranges: Float, radius_m: float) -> float:
    """Return the geometric error at which a viewer of tiles changes where OpenSceneGraph would.

    By pixels: the finer file is wanted where the sphere of a radius covers so many pixels. By distance: nearer than it.
    """
    if mode == ["PIXEL_SIZE_ON_SCREEN"]:
        pixels = float(ranges[:, 0].max())
        return 2 * radius_m * SCREEN_ERROR_PX / pixels if pixels > 0 else 0.0
    distance = float(ranges[ranges[:, 1] < 1e9, 1].min(initial=np.inf))
    near = float(ranges[:, 0].max()) if np.isinf(distance) else distance
    return near * _VIEW * SCREEN_ERROR_PX


def _picture(block: _Block) -> bytes | None:
    """Return an image as JPEG (PNG where it has transparency), its rows in the order of the data."""
    from PIL import Image

    data = block.first("Data")
    size = [int(n) for n in block.after("Size", 3)]
    pixels = [int(n) for n in (*block.after("PixelFormat"), *block.after("DataType"))]
    if data is None or len(size) != 3 or len(pixels) != 2 or pixels[0] not in _MODES or pixels[1] != _UNSIGNED_BYTE:
        return None
    text = "".join(data.words).strip('"').replace("\n", "")
    raw = base64.b64decode(text + "=" * (-len(text) % 4))
    mode = _MODES[pixels[0]]
    wide, tall = size[0] * len(mode), size[1]
    packing = int((block.after("Packing") or ["1"])[0])
    stride = -(-wide // packing) * packing
    if len(raw) < stride * (tall - 1) + wide:
        return None
    rows = np.frombuffer(raw.ljust(stride * tall, b"\0"), np.uint8, stride * tall).reshape(tall, stride)[:, :wide]
    image: Any = Image.frombytes(mode, (size[0], tall), rows.tobytes())
    opaque = mode != "RGBA" or np.asarray(image)[:, :, 3].min() == 255
    target = io.BytesIO()
    if opaque:
        image.convert("RGB").save(target, "JPEG", quality=JPEG_QUALITY)
    else:
        image.save(target, "PNG")
    return target.getvalue()
