"""What a layer is: the typed form of the catalog's YAML, checked once when it is read."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from cim.catalog.common_columns import RESERVED, FieldType
from cim.catalog.row import Row, Text
from cim.catalog.style import Style
from cim.errors import UnknownLayer
from cim.messages import say

KindName = Literal["feature", "raster", "points", "tileset", "observation"]
Geometry = Literal["MultiPolygon", "MultiLineString", "Point"]


class Code(Row):
    """One value of a code list."""

    value: str
    title: Text
    color: str | None = None  # '#rrggbb', where the value is drawn
    closed_to: tuple[str, ...] = ()  # of a road's class: modes of travel that may not use it
    aliases: tuple[str, ...] = ()


class CodeList(Row):
    """Values that a field may take, with the source of the list."""

    id: str
    title: Text
    source: str
    codes: tuple[Code, ...]
    closed: bool = False  # a record with another value is refused; else it is kept, flagged and counted

    @cached_property
    def values(self) -> frozenset[str]:
        """The values that it has."""
        return frozenset(code.value for code in self.codes)

    @cached_property
    def by_alias(self) -> Mapping[str, str]:
        """Each spelling (folded case) → the value it stands for."""
        return {
            spelling.casefold(): code.value
            for code in self.codes
            for spelling in (code.value, code.title.zh, code.title.en, *code.aliases)
        }


class LayerField(Row):
    """A field of a layer."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,50}$")
    type: FieldType = "text"
    title: Text
    aliases: tuple[str, ...] = ()  # by which columns of files find it
    unit: str | None = None  # UCUM
    obligation: Literal["M", "C", "O"] = "O"
    codes: str | None = None  # a code list's id
    role: str | None = None  # under which code asks for it; declared in the catalog
    range: tuple[float, float] | None = (
        None  # of values that can be; others are kept, and counted in the quality report
    )
    additive: bool = False  # its sum over objects means something: people, places, areas; not storeys, years, heights
    indexed: bool = False
    sensitive: bool = False  # never in tiles


class Figure(Row):
    """A key figure of the city that a layer gives: it stands on the first screen."""

    title: Text
    measure: Literal["count", "sum", "area"]  # of its features, of a field's values, of its footprints
    field: str | None = None
    unit: Literal["m2", "km2"] | None = None
    rank: int = 9  # the lowest stands first


class Topology(Row):
    """What the objects of a layer keep among each other; the quality report of a load says where they don't."""

    rule: Literal["coverage", "disjoint", "network"]  # no gap and no overlap; no overlap; all connected
    within: str | None = None  # a field: the rule holds among objects of one value


class Layer(Row):
    """A layer: everything that table, collection, tile class, viewer tree and docs page derive from."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    kind: KindName
    title: Text
    description: Text
    class_code: str
    cim_level: int = Field(ge=1, le=7)
    aliases: tuple[str, ...] = ()  # stems of files and tables that hold it
    role: str | None = None  # under which code asks for it; declared in the catalog
    geometry: Geometry | None = None  # feature layers have exactly one
    observes: str | None = None  # the layer whose features' values an observation layer holds over time
    feature_aliases: tuple[str, ...] = ()  # columns of files that name the observed feature
    object_classes: tuple[str, ...] = ()  # of CityJSON, CityGML, IFC; OpenStreetMap's tags, `key=value` or `key=*`
    leaf_level: int | None = Field(None, ge=8, le=20)  # of its 3D tiles; None: drawn in 2D
    fields: tuple[LayerField, ...] = ()
    cells: Literal["height", "amount", "color"] = "height"  # what a raster's cells hold; an amount is a cell's own
    symbol: Literal["vegetation"] | None = None  # what stands for a point of it in 3D tiles
    figure: Figure | None = None
    topology: Topology | None = None
    order: int = 100  # in the viewer's tree and when draped: low lies below
    style: Style | None = None  # how it is drawn; None: plainly

    @model_validator(mode="after")
    def _consistent(self) -> "Layer":
        if (self.kind == "feature") != (self.geometry is not None):
            raise ValueError(f"layer {self.id}: a feature layer has one geometry type, another kind none")
        if (self.kind == "observation") != (self.observes is not None):
            raise ValueError(f"layer {self.id}: an observation layer names the layer it observes, another kind none")
        if self.symbol and (self.geometry != "Point" or self.leaf_level is None):
            raise ValueError(f"layer {self.id}: a symbol stands for points of a layer with 3D tiles")
        names = [f.name for f in self.fields]
        if self.figure and (self.figure.measure == "sum") != (self.figure.field in names):
            raise ValueError(f"layer {self.id}: a figure that sums names one of its fields, another none")
        if twice := {n for n in names if names.count(n) > 1} | (set(names) & RESERVED):
            raise ValueError(f"layer {self.id}: field {', '.join(sorted(twice))} stands twice or is a common column")
        for use, field in (("label", self.drawn_as.label), ("color_by", self.drawn_as.color_by)):
            if field is not None and field not in names:
                raise ValueError(f"layer {self.id}: {use} of its style is {field}, which isn't one of its fields")
        return self

    @cached_property
    def drawn_as(self) -> Style:
        """Its style; without one a plain one, in the colours of its code list if it has one."""
        if self.style:
            return self.style
        use, name = self.field("use"), self.field("name")
        return Style(
            fill="#7a9bb5" if self.geometry == "Point" else "#7a9bb555",
            stroke="#4a6b85",
            color_by=use.name if use and use.codes else None,
            label=name.name if name else None,
        )

    @cached_property
    def field_by_alias(self) -> Mapping[str, LayerField]:
        """Each name and alias (folded case) → its field."""
        return {spelling.casefold(): f for f in self.all_fields for spelling in (*f.aliases, f.name)}

    def field(self, role: str) -> LayerField | None:
        """Return the field that plays `role`, or None."""
        return next((f for f in self.fields if f.role == role), None)

    @cached_property
    def all_fields(self) -> tuple[LayerField, ...]:
        """The layer's fields, before them those that every layer of its kind has."""
        if not self.observes:
            return self.fields
        return (
            LayerField(
                name="feature",
                title=Text(zh="对象", en="Feature"),
                obligation="M",
                indexed=True,
                aliases=("feature_id", self.observes, f"{self.observes}_id", *self.feature_aliases),
            ),
            LayerField(
                name="time",
                type="timestamp",
                title=Text(zh="时间", en="Time"),
                obligation="M",
                indexed=True,
                aliases=("ts", "timestamp", "datetime", "date_time", "时间", "观测时间"),
            ),
            *self.fields,
        )

    @property
    def public_fields(self) -> Iterator[LayerField]:
        """Fields that may stand in shared, immutable tiles."""
        return (f for f in self.fields if not f.sensitive)


class Role(Row):
    """What a layer or a field is to the code, which asks for roles and never for names."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    of: Literal["layer", "field"]
    title: Text
    meaning: str


class DataClass(Row):
    """One of the national CIM data classes: the first step of the viewer's tree."""

    code: str = Field(min_length=1)  # which the class codes of its layers begin with
    title: Text


class CatalogFile(Row):
    """One YAML file of the catalog."""

    data_class: DataClass | None = None
    code_lists: tuple[CodeList, ...] = ()
    layers: tuple[Layer, ...] = ()
    roles: tuple[Role, ...] = ()


class Catalog(Row):
    """All layers, code lists and classes that a city knows."""

    classes: tuple[DataClass, ...]
    code_lists: Mapping[str, CodeList]
    layers: Mapping[str, Layer]
    roles: tuple[Role, ...] = ()

    def layer(self, name: str) -> Layer:
        """Return a layer by its id.

        Raises:
            UnknownLayer: there is none of that name.

        """
        try:
            return self.layers[name]
        except KeyError:
            raise UnknownLayer(say("no-layer", name=name, layers=", ".join(self.layers))) from None

    @cached_property
    def layer_by_alias(self) -> Mapping[str, Layer]:
        """Each layer id and alias (folded case) → its layer."""
        return {spelling.casefold(): layer for layer in self.layers.values() for spelling in (*layer.aliases, layer.id)}

    @cached_property
    def layer_by_object_class(self) -> Mapping[str, Layer]:
        """Each object class of city models → the layer it goes to."""
        return {name: layer for layer in self.layers.values() for name in layer.object_classes}

    def named_by(self, names: Iterable[str]) -> Layer | None:
        """Return the layer of the first name that says one: whole, else by its first words (`road_2023`)."""
        by_alias = self.layer_by_alias
        for name in names:
            folded = name.casefold()
            words = folded.replace("-", "_").replace(" ", "_").replace(".", "_").split("_")
            for spelling in (folded, *("_".join(words[:length]) for length in range(len(words), 0, -1))):
                if spelling in by_alias:
                    return by_alias[spelling]
        return None

    def of_kind(self, *kinds: KindName) -> list[Layer]:
        """Return the layers of some kinds in the order of the catalog."""
        return [layer for layer in self.layers.values() if layer.kind in kinds]

    def with_role(self, role: str) -> Layer | None:
        """Return the layer that plays `role`, or None."""
        return next((layer for layer in self.layers.values() if layer.role == role), None)

    def observed_by(self, layer: Layer) -> list[Layer]:
        """Return the observation layers that hold values of a layer's features."""
        return [other for other in self.layers.values() if other.observes == layer.id]

    def coded_fields(self, layer: Layer) -> Iterator[tuple[LayerField, CodeList]]:
        """Yield the fields of a layer that have a code list, with it."""
        return ((field, self.code_lists[field.codes]) for field in layer.fields if field.codes)

    def codes(self, field: LayerField) -> CodeList | None:
        """Return the code list of a field, or None."""
        return self.code_lists[field.codes] if field.codes else None
