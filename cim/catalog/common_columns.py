"""The columns that every layer has besides its fields: one list for tables, loads, reads, filters, frames and edits.

A column added here is in the tables of all layers after `cim init`, and, where it is shown, in every answer and export.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cim.catalog.row import Text

FieldType = Literal["text", "integer", "number", "boolean", "date", "timestamp"]
BroughtBy = Literal["record", "load", "row"]  # each record has its own; a load's records share it; the store sets it


@dataclass(frozen=True)
class CommonColumn:
    """A column of every layer: how it is stored, and how it is answered where it is shown."""

    name: str
    brought_by: BroughtBy
    sql_type: str = ""  # none: it is computed, no column of the table
    default: str = ""
    observed: bool = False  # tables of observations have it as a column of their own too
    content: bool = False  # a version that differs in it differs in content
    later: bool = False  # tables of earlier versions lack it: `cim init` adds it
    title: Text | None = None  # of one that is shown
    type: FieldType = "text"  # as which it is shown
    sql: str = ""  # what is shown, over the alias `v`
    filterable: bool = False  # a filter may name it
    editable: bool = False  # an edit's properties may set it; the store says the others, and an edit leaves them

    @property
    def shown(self) -> bool:
        """Whether answers, frames and exports have it among an object's properties."""
        return self.title is not None and self.name != "id"


def _text(zh: str, en: str) -> Text:
    return Text(zh=zh, en=en)


# Those of a record stand in the order of the binary COPY, in which its content is hashed too: it stays as it is.
# `record` is what its source calls it, where that isn't its id: the id without a prefix, or its place in the file.
# `derived_from` is the content of the version that one was made from (roofs from points, on a footprint): who delivers
# that again brings nothing new.
COMMON_COLUMNS: tuple[CommonColumn, ...] = (
    CommonColumn("fid", "row"),
    CommonColumn("valid", "row"),
    CommonColumn("recorded", "row"),
    CommonColumn(
        "id", "record", "text", "NOT NULL", observed=True, title=_text("编号", "Id"), sql="v.id", filterable=True
    ),
    CommonColumn("geom", "record", "geometry", "NOT NULL", content=True),
    CommonColumn(
        "lods", "record", "text[]", content=True, title=_text("细节层次", "Levels of detail"),
        sql="array_to_string(v.lods, ' ')",
    ),
    CommonColumn("bodies", "record", "bytea[]", content=True),
    CommonColumn(
        "parent_id", "record", "text", content=True, title=_text("所属对象", "Part of"), sql="v.parent_id",
        filterable=True,
    ),
    CommonColumn(
        "flags", "record", "text[]", content=True, title=_text("质量标记", "Flags"), sql="array_to_string(v.flags, ' ')"
    ),
    CommonColumn(
        "extra", "record", "jsonb", observed=True, content=True, title=_text("其他属性", "Other attributes"),
        sql="v.extra::text", editable=True,
    ),
    CommonColumn("content", "record", "bytea", "NOT NULL", observed=True),
    CommonColumn("record", "record", "text", later=True),
    CommonColumn("derived_from", "record", "bytea", later=True),
    CommonColumn(
        "class_code", "load", "text", "NOT NULL", title=_text("分类代码", "Class code"), sql="v.class_code",
        filterable=True,
    ),
    CommonColumn("cim_level", "load", "smallint", "NOT NULL"),
    CommonColumn(
        "dataset", "load", "text", "NOT NULL", title=_text("数据集", "Dataset"), sql="v.dataset", filterable=True
    ),
    CommonColumn(
        "load", "load", "bigint", "NOT NULL", title=_text("入库批次", "Load"), type="integer", sql="v.load",
        filterable=True,
    ),
    CommonColumn("public", "load", "boolean", "NOT NULL DEFAULT true", later=True),
    CommonColumn("source", "load", "bigint", later=True),
    CommonColumn(  # none: nothing said when
        "surveyed", "load", "date", later=True, title=_text("测绘日期", "Survey date"), type="date", sql="v.surveyed",
        filterable=True,
    ),
    CommonColumn(
        "valid_from", "row", title=_text("有效自", "Valid from"), type="timestamp", sql="lower(v.valid)",
        filterable=True,
    ),
    CommonColumn(
        "valid_until", "row", title=_text("有效至", "Valid until"), type="timestamp", sql="upper(v.valid)",
        filterable=True,
    ),
)  # fmt: skip

BY_NAME: Mapping[str, CommonColumn] = {column.name: column for column in COMMON_COLUMNS}
SHOWN = tuple(column for column in COMMON_COLUMNS if column.shown)
FILTERABLE = tuple(column for column in COMMON_COLUMNS if column.filterable)
# a layer's field can't take the name of a column that stands beside it, in its table or in an answer
RESERVED = frozenset(BY_NAME) | {"feature", "time"}
