"""Images that a model lays over its surfaces: found beside its file, looked at, and put into the asset store."""

import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from cim.config import Settings
from cim.features import Features
from cim.geometry.appearance import Appearance
from cim.messages import say
from cim.store.assets import put_asset

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
MOST_PIXELS = 100_000_000
NO_IMAGE = say("image-surfaces-not-beside-file")
OUTSIDE = say("image-surfaces-lies-outside-file")
BROKEN = say("image-surfaces-cannot-read")


def beside(file: Path, reference: str) -> str:
    """Return the path of an image as a model refers to it; what can't be below the file's folder stays as it is said.

    Args:
        file: the model.
        reference: the image by its path from the model's folder, with either kind of slash.

    """
    address = reference.strip().replace("\\", "/")
    return str(file.parent / address) if address and "://" not in address else ""


def with_stored_images(features: Features, folder: Path, settings: Settings) -> Features:
    """Put the images of a batch into the asset store; the surfaces of one that can't be shown go without.

    Args:
        features: with bodies whose paints name images by their paths.
        folder: which the images must lie below.
        settings: where the asset store is.

    """
    looks = features.bodies.appearance
    if looks is None:
        return features
    outcomes = [_stored(paint.image, folder, settings) if paint.image else ("", "") for paint in looks.paints]
    paints = tuple(replace(paint, image=sha256) for paint, (sha256, _) in zip(looks.paints, outcomes, strict=True))
    reasons = np.array([why for _, why in outcomes] + [""], object)[looks.face_paint]
    remarks = {}
    for reason in filter(None, dict.fromkeys(reasons)):
        records = np.unique(features.body_record[features.bodies.body_of_face[reasons == reason]])
        remarks[reason] = tuple(features.ids[r] or str(r + 1) for r in records)
    shown = Appearance(paints, np.where(reasons == "", looks.face_paint, -1), looks.uv)
    bodies = replace(features.bodies, appearance=shown)
    return replace(features, bodies=bodies, warnings={**features.warnings, **remarks})


def _stored(image: str, folder: Path, settings: Settings) -> tuple[str, str]:
    """Return an image's name in the asset store, or why it has none."""
    path = Path(image).resolve()
    if not path.is_relative_to(folder.resolve()):
        return "", OUTSIDE
    if not path.is_file():
        return "", NO_IMAGE
    status = path.stat()
    return _put(path, (status.st_mtime_ns, status.st_size), settings)


@lru_cache(maxsize=4096)
def _put(path: Path, state: tuple[int, int], settings: Settings) -> tuple[str, str]:  # noqa: ARG001 - what it is known by
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    return "", BROKEN
                opened.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "", BROKEN
    return put_asset(settings, path), ""
