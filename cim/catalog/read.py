"""Reading the catalog: our own files, a city's folder, and what other packages bring as entry points."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml
from pydantic import ValidationError

from cim.catalog.assumptions import ASSUMPTIONS_FILE
from cim.catalog.model import Catalog, CatalogFile, Layer
from cim.errors import BadCatalog
from cim.messages import say


@lru_cache(maxsize=8)
def read_catalog(city_folder: Path | None = None) -> Catalog:
    """Read every catalog file: ours, those of the entry points `cim.layers`, those of the city's folder.

    An entry point names a package that holds YAML files. A layer declared again replaces the earlier one, so that a
    city can widen a layer of ours.

    Raises:
        BadCatalog: a file can't be read, a row breaks the model, or a field names an unknown code list, a
            layer is of no data class.

    """
    folders: list[Traversable] = [files("cim.catalog")]
    folders += [files(point.value) for point in entry_points(group="cim.layers")]
    if city_folder:
        if not city_folder.is_dir():
            raise BadCatalog(say("city-file-catalog-not-folder", city_folder=city_folder))
        folders.append(city_folder)
    paths = [p for folder in folders for p in sorted(folder.iterdir(), key=lambda p: p.name) if _is_yaml(p)]
    return merge_files(_read_file(path) for path in paths)


def merge_files(parts: Iterable[CatalogFile]) -> Catalog:
    """Put catalog files together, later layers and lists replacing earlier ones of the same id."""
    parts = list(parts)
    classes = {part.data_class.code: part.data_class for part in parts if part.data_class}
    lists = {codes.id: codes for part in parts for codes in part.code_lists}
    layers = {layer.id: layer for part in parts for layer in part.layers}
    roles = {(role.of, role.id): role for part in parts for role in part.roles}
    for layer in layers.values():
        _check_references(layer, set(lists), layers)
        _check_roles(layer, roles)
        _check_class(layer, list(classes))
    for role in {layer.role for layer in layers.values() if layer.role}:
        if len(ids := [layer.id for layer in layers.values() if layer.role == role]) > 1:
            raise BadCatalog(say("only-one-may-have-role", ids=", ".join(ids), role=role))
    return Catalog(
        classes=tuple(classes[c] for c in sorted(classes)), code_lists=lists, layers=layers, roles=tuple(roles.values())
    )


def _is_yaml(path: Traversable) -> bool:
    return path.name.endswith((".yaml", ".yml")) and path.name != ASSUMPTIONS_FILE


def _read_file(path: Traversable) -> CatalogFile:
    try:
        return CatalogFile.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as fault:
        raise BadCatalog(say("catalog-file-cannot-be-used", file=path.name, reason=fault)) from fault


def _check_references(layer: Layer, code_lists: set[str], layers: Mapping[str, Layer]) -> None:
    if layer.observes and (layer.observes not in layers or layers[layer.observes].kind != "feature"):
        raise BadCatalog(say("which-not-feature-layer", layer=layer.id, observes=layer.observes))
    for field in layer.fields:
        if field.codes and field.codes not in code_lists:
            raise BadCatalog(say("field-names-unknown-code-list", layer=layer.id, field=field.name, codes=field.codes))
        if field.codes and field.type != "text":
            raise BadCatalog(say("field-has-code-list", layer=layer.id, field=field.name))


def _check_roles(layer: Layer, roles: Collection[tuple[str, str]]) -> None:
    """Refuse a role that nobody declares: no code would ever ask for it."""
    asked = [("layer", layer.role), *(("field", field.role) for field in layer.fields)]
    for of, role in asked:
        if role and (of, role) not in roles:
            declared = ", ".join(sorted(name for kind, name in roles if kind == of))
            raise BadCatalog(
                say("no-catalog-file-declares-role", layer=layer.id, file=of, role=role, declared=declared)
            )


def _check_class(layer: Layer, classes: Sequence[str]) -> None:
    """Refuse a layer that would be missing where layers are listed by class: the viewer's tree, QGIS, the pages."""
    if sum(map(layer.class_code.startswith, classes)) != 1:
        raise BadCatalog(
            say(
                "class-code-belongs-none",
                layer=layer.id,
                class_code=layer.class_code,
                classes=", ".join(sorted(classes)),
            )
        )
