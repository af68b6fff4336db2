"""The images of a tile: what its faces use of each image, no finer than can be seen, packed into one sheet.

An image that repeats over a face can't share a sheet; it is drawn by itself.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cim.errors import CimError
from cim.geometry.appearance import Appearance, Paint, Wrap
from cim.geometry.body_batch import Bodies, Int, ranges
from cim.messages import say

FINEST_M = 0.04  # metres of a pixel on a face; what is finer is made coarser
SHEET = 4096  # pixels of a sheet's side, at most
ALONE = 2048  # pixels of the side of an image that is drawn by itself, at most
_MARGIN = 2  # pixels around a patch that repeat its edge, so that coarser pictures of the sheet don't mix patches
_SHRINK = 0.85  # of all patches, each time that they don't fit
_EDGE = 1e-3  # of an image; rounding leads so far beyond it
_QUALITY = 82
_OPAQUE = 250  # of 255
_CUT_OUT = 0.05  # with fewer pixels in between, an image has holes rather than glass

Alpha = Literal["OPAQUE", "MASK", "BLEND"]  # as glTF names them
ImagePath = Callable[[str], Path]


@dataclass(frozen=True)
class Texture:
    """An image of a GLB."""

    image: bytes
    mime: str
    wrap: Wrap
    alpha: Alpha


@dataclass(frozen=True)
class Layer:
    """Faces that share an image."""

    texture: Texture
    faces: Int


@dataclass(frozen=True)
class Patch:
    """What a tile uses of an image, in pixels of the sheet's scale."""

    paint: int
    box: tuple[int, int, int, int]  # left, top, right, bottom, pixels of the image
    scale: float

    def size(self, shrink: float) -> tuple[int, int]:
        """Return width and height on the sheet, without margins."""
        left, top, right, bottom = self.box
        return (
            max(1, round((right - left) * self.scale * shrink)),
            max(1, round((bottom - top) * self.scale * shrink)),
        )


def lay_out(bodies: Bodies, shown: NDArray[np.bool_], path_of: ImagePath) -> tuple[list[Layer], NDArray[np.float32]]:
    """Return the images of a tile with their faces, and the texture coordinates of all indices as glTF has them.

    Args:
        bodies: with an appearance; vertices in metres.
        shown: (F,) which faces are drawn.
        path_of: where an image lies, by its SHA-256.

    Raises:
        CimError: an image isn't in the asset store any more.

    """
    looks = bodies.appearance
    uv = np.zeros((len(bodies.indices), 2), np.float32)
    if looks is None:
        return [], uv
    layers: list[Layer] = []
    patches: list[Patch] = []
    faces_of_patch: list[Int] = []
    for number, paint in enumerate(looks.paints):
        faces = np.flatnonzero((looks.face_paint == number) & shown)
        if not paint.image or not len(faces):
            continue
        indices = _indices(bodies, faces)
        st = looks.uv[indices]
        width, height = _size(path_of(paint.image))
        scale = min(1.0, _metres_of_pixel(bodies, faces, indices, looks, width * height) / FINEST_M)
        beyond = (st < -_EDGE).any() or (st > 1 + _EDGE).any()
        if beyond and paint.wrap != "clamp":
            uv[indices] = st * [1, -1] + [0, 1]
            shrunk = min(1.0, scale, ALONE / max(width, height))
            image = _opened(path_of(paint.image), (0, 0, width, height), shrunk)
            layers.append(Layer(_texture(image, paint.wrap), faces))
            continue
        st = np.clip(st, 0.0, 1.0)
        low, high = st.min(axis=0), st.max(axis=0)
        left, right = int(low[0] * width), int(np.ceil(high[0] * width))
        top, bottom = int((1 - high[1]) * height), int(np.ceil((1 - low[1]) * height))
        box = (min(left, width - 1), min(top, height - 1), max(right, left + 1), max(bottom, top + 1))
        patches.append(Patch(number, (box[0], box[1], min(box[2], width), min(box[3], height)), scale))
        faces_of_patch.append(faces)
    if patches:
        sheet, places, shrink = _packed(patches)
        canvas = Image.new("RGBA", sheet, (0, 0, 0, 255))
        for patch, place, faces in zip(patches, places, faces_of_patch, strict=True):
            paint = looks.paints[patch.paint]
            canvas.paste(_with_margin(_patch(path_of(paint.image), patch, shrink)), place)
            indices = _indices(bodies, faces)
            width, height = _size(path_of(paint.image))
            pixels = np.clip(looks.uv[indices], 0, 1) * [1, -1] * [width, height] + [0, height]
            inside = (pixels - patch.box[:2]) / (np.array(patch.box[2:]) - patch.box[:2])
            uv[indices] = (inside * patch.size(shrink) + np.array(place) + _MARGIN) / sheet
        layers.append(Layer(_texture(canvas, "clamp"), np.sort(np.concatenate(faces_of_patch))))
    return layers, uv


def _indices(bodies: Bodies, faces: Int) -> Int:
    rings = ranges(bodies.ring_start[faces], np.diff(bodies.ring_start)[faces])
    return ranges(bodies.index_start[rings], np.diff(bodies.index_start)[rings])


def _metres_of_pixel(bodies: Bodies, faces: Int, indices: Int, looks: Appearance, pixels: int) -> float:
    """Return how wide a pixel of an image is on its faces: by their areas on the ground and in the image."""
    area = np.linalg.norm(bodies.area_vectors[faces], axis=1).sum()
    following = bodies.next_index[indices]
    s, t = looks.uv[indices].T.astype(np.float64)
    s_next, t_next = looks.uv[following].T.astype(np.float64)
    first_ring = bodies.ring_of_index[indices]
    twice = np.bincount(first_ring - first_ring.min(), s * t_next - s_next * t)
    in_image = np.abs(twice).sum() / 2 * pixels
    return float(np.sqrt(area / in_image)) if in_image > 0 else np.inf


def _packed(patches: Sequence[Patch]) -> tuple[tuple[int, int], list[tuple[int, int]], float]:
    """Place patches in rows, the highest first; return the sheet's size, where each lies, and how much all shrank."""
    shrink = 1.0
    while True:
        sizes = np.array([patch.size(shrink) for patch in patches]) + 2 * _MARGIN
        side = min(SHEET, max(int(sizes[:, 0].max()), int(np.ceil(np.sqrt(sizes.prod(axis=1).sum()) * 1.05))))
        places: list[tuple[int, int]] = [(0, 0)] * len(patches)
        x = y = row = 0
        for p in np.argsort(-sizes[:, 1], kind="stable").tolist():
            width, height = sizes[p].tolist()
            if x + width > side:
                x, y, row = 0, y + row, 0
            places[p] = (x, y)
            x, row = x + width, max(row, height)
        if y + row <= SHEET and sizes[:, 0].max() <= SHEET:
            return (side, y + row), places, shrink
        shrink *= _SHRINK


def _size(path: Path) -> tuple[int, int]:
    with _open(path) as image:
        return image.size


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except OSError as fault:
        raise CimError(say("image-not-asset-store-any", file=path.name, reason=fault)) from fault


def _patch(path: Path, patch: Patch, shrink: float) -> Image.Image:
    return _resized(path, patch.box, patch.size(shrink))


def _opened(path: Path, box: tuple[int, int, int, int], scale: float) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    return _resized(path, box, (max(1, round(width * scale)), max(1, round(height * scale))))


def _resized(path: Path, box: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    with _open(path) as image:
        cut = image.convert("RGBA").crop(box)
    return cut if cut.size == size else cut.resize(size, Image.Resampling.BOX)


def _with_margin(image: Image.Image) -> Image.Image:
    padded = np.pad(np.asarray(image), ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="edge")
    return Image.fromarray(padded)


def _texture(image: Image.Image, wrap: Wrap) -> Texture:
    """Return an image as a GLB has it: JPEG, or PNG where something is to be seen through it."""
    alpha = np.asarray(image)[..., 3]
    written = io.BytesIO()
    if (alpha >= _OPAQUE).all():
        image.convert("RGB").save(written, "JPEG", quality=_QUALITY)
        return Texture(written.getvalue(), "image/jpeg", wrap, "OPAQUE")
    between = ((alpha > 255 - _OPAQUE) & (alpha < _OPAQUE)).mean()
    image.save(written, "PNG")
    return Texture(written.getvalue(), "image/png", wrap, "BLEND" if between > _CUT_OUT else "MASK")


def paint_color(paint: Paint) -> tuple[float, float, float, float]:
    """Return a paint's colour in linear RGB, and its opacity."""
    srgb = np.array(paint.color)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    red, green, blue = linear.tolist()
    return red, green, blue, paint.opacity
