"""Styles of layers: one YAML file a layer, and a plain style by geometry for a layer without one."""

from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from cim.catalog.model import Layer

Icon = Literal[
    "dot", "fire", "camera", "hydrant", "parking", "pin", "hospital", "school", "shelter", "hazard", "tower", "device",
    "event", "service",
]  # fmt: skip


class Style(BaseModel):
    """How a layer is drawn; every client's style derives from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    visible: bool = True  # when the viewer opens
    fill: str | None = None  # '#rrggbb' or '#rrggbbaa'
    stroke: str | None = None
    stroke_width_px: float = 1.0
    dash_px: tuple[float, ...] = ()
    casing: str | None = None  # of lines with a width in metres
    color_by: str | None = None  # a field with a code list
    default_width_m: float = 6.0
    grain: bool = False  # areas are filled a little unevenly, as land is
    label: str | None = None  # a field
    label_color: str = "#34403a"
    label_from_m: float = 8000.0  # camera height below which labels are shown
    icon: Icon = "dot"
    icon_from_m: float = 6000.0
    rank: int = 5  # of signs and labels: the lowest is shown first where there is no room for all


@cache
def _declared() -> dict[str, Style]:
    found = {}
    for file in files("styles").iterdir():
        if file.name.endswith(".yaml"):
            found[file.name.removesuffix(".yaml")] = Style.model_validate(yaml.safe_load(file.read_text("utf-8")) or {})
    return found


def style_of(layer: Layer) -> Style:
    """Return a layer's style; one without a file is drawn plainly, in the code list's colours if it has one."""
    declared = _declared().get(layer.id)
    if declared:
        return declared
    use, name = layer.field("use"), layer.field("name")
    return Style(
        fill="#7a9bb5" if layer.geometry == "Point" else "#7a9bb555",
        stroke="#4a6b85",
        color_by=use.name if use and use.codes else None,
        label=name.name if name else None,
    )
