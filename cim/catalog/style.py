"""How a layer is drawn. It stands beside the layer in the catalog; each client's style derives from it."""

from pydantic import Field

from cim.catalog.row import Row

_COLOR = r"^#([0-9a-fA-F]{6}|[0-9a-fA-F]{8})$"


class Style(Row):
    """How a layer is drawn; every client's style derives from it."""

    visible: bool = True  # when the viewer opens
    fill: str | None = Field(default=None, pattern=_COLOR)  # '#rrggbb' or '#rrggbbaa'
    stroke: str | None = Field(default=None, pattern=_COLOR)
    stroke_width_px: float = Field(default=1.0, ge=0)
    dash_px: tuple[float, ...] = ()
    casing: str | None = Field(default=None, pattern=_COLOR)  # of lines with a width in metres
    color_by: str | None = None  # a field with a code list
    default_width_m: float = Field(default=6.0, gt=0)
    grain: bool = False  # areas are filled a little unevenly, as land is
    label: str | None = None  # a field
    label_color: str = Field(default="#34403a", pattern=_COLOR)
    label_from_m: float = Field(default=8000.0, gt=0)  # camera height below which labels are shown
    glyph: str = Field(default="", max_length=2)  # stands in the sign of a point
    icon_from_m: float = Field(default=6000.0, gt=0)  # camera height below which signs are shown
    rank: int = 5  # of signs and labels: the lowest is shown first where there is no room for all
