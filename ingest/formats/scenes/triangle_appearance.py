"""The look of a model's mesh: its image with texture coordinates, the colour of its material, or colours of faces."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cim.geometry.appearance import MOST_PAINTS, Appearance, Paint
from cim.messages import say

TOO_MANY_COLOURS = say("colours-more-kinds-than-body")


class Images:
    """The images of a file, which hold no file of their own, written to a folder, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[int, Path] = {}
        self._kept: list[Image.Image] = []  # so that no other image gets the number of one that is gone

    def path(self, image: Image.Image) -> str:
        """Return where an image lies now."""
        if id(image) not in self._written:
            jpeg = image.format == "JPEG"
            path = self._folder / f"{len(self._written)}.{'jpg' if jpeg else 'png'}"
            try:
                image.save(path, **({"format": "JPEG", "quality": "keep"} if jpeg else {"format": "PNG"}))
            except (OSError, SyntaxError, ValueError):  # cut short: a file that can't be read is told of later
                path.write_bytes(b"")
            self._written[id(image)] = path
            self._kept.append(image)
        return str(self._written[id(image)])


def appearance_of(mesh: Any, images: Images) -> Appearance | None:
    """Return how a mesh of trimesh looks; None: as nothing special.

    Args:
        mesh: with T triangles.
        images: where its image goes.

    """
    visual, count = mesh.visual, len(mesh.faces)
    uv = np.zeros((3 * count, 2), np.float32)
    if visual.kind == "texture":
        material = visual.material
        image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
        color = _color(getattr(material, "main_color", None))
        if image is not None and visual.uv is not None and len(visual.uv) == len(mesh.vertices):
            uv = np.asarray(visual.uv, np.float32)[np.asarray(mesh.faces).ravel(), :2]
            if np.isfinite(uv).all():
                return Appearance((Paint(image=images.path(image), wrap="repeat"),), np.zeros(count, np.int64), uv)
        return Appearance((color,), np.zeros(count, np.int64), np.zeros_like(uv)) if color else None
    if visual.kind in ("face", "vertex"):
        colours, number = np.unique(np.asarray(visual.face_colors), axis=0, return_inverse=True)
        if len(colours) <= MOST_PAINTS:
            return Appearance(tuple(filter(None, map(_color, colours))), number.reshape(-1), uv)
    return None


def _color(rgba: NDArray[np.uint8] | None) -> Paint | None:
    if rgba is None or len(rgba) != 4:
        return None
    red, green, blue, opacity = (np.asarray(rgba, np.float64) / 255).round(4).tolist()
    return Paint((red, green, blue), opacity)
