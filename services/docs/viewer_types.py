"""The types of what the page is answered, made from the models that the doors build."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from services.http.answers import ANSWERS, Answer

TYPES = Path("services/viewer/src/generated.ts")
_HEAD = "// Made from services/http/answers.py by `make docs`; change the models, not this file."
_PLAIN: Mapping[Any, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    Any: "unknown",
    NoneType: "null",
}


def viewer_types() -> str:
    """Return the module: a type a model, those that others name before them."""
    blocks = [_declared(model) for model in _with_parts(ANSWERS)]
    return "\n\n".join([_HEAD, *blocks]) + "\n"


def _with_parts(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    ordered: dict[type[BaseModel], None] = {}

    def add(model: type[BaseModel], above: tuple[type[BaseModel], ...]) -> None:
        if model in ordered or model in above:
            return
        for field in model.model_fields.values():
            for part in _models_in(field.annotation):
                add(part, (*above, model))
        ordered[model] = None

    for model in models:
        add(model, ())
    return list(ordered)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _declared(model: type[BaseModel]) -> str:
    rows = [_member(model, name, field) for name, field in model.model_fields.items()]
    if model.model_config.get("extra") == "allow":
        rows.append("  [member: string]: unknown;")
    summary = (model.__doc__ or "").strip().splitlines()[0]
    return "\n".join([f"/** {summary} */", f"export type {model.__name__} = {{", *rows, "};"])


def _member(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    spelling = field.alias or name
    shown = spelling if spelling.isidentifier() else f'"{spelling}"'
    # an answer leaves out what there isn't; of a row of the catalog each member is written
    absent = issubclass(model, Answer) and not field.is_required()
    written = [part for part in _options(field.annotation) if not (absent and part is NoneType)]
    return f"  {shown}{'?' if absent else ''}: {_union(written)};"


def _options(annotation: Any) -> Sequence[Any]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _union(options: Iterable[Any]) -> str:
    return " | ".join(dict.fromkeys(_written(option) for option in options))


def _written(annotation: Any) -> str:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in parts)
    if origin in (Union, UnionType):
        return _union(parts)
    if origin is dict:
        return f"Record<string, {_written(parts[1])}>"
    if origin is tuple and parts[-1] is not Ellipsis:
        return f"[{', '.join(_written(part) for part in parts)}]"
    if origin in (list, tuple):
        inner = _written(parts[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    raise TypeError(f"{annotation} has no type in TypeScript here: add a row")


if __name__ == "__main__":
    TYPES.write_text(viewer_types(), "utf-8")
