"""`docs/layers.md`, the city's data dictionary, made from the catalog."""

from pathlib import Path

from cim.catalog.model import Catalog, Layer
from cim.catalog.read import read_catalog


def layers_page(catalog: Catalog) -> str:
    """Return the page: a section a layer, a row a field, and the code lists."""
    lines = [
        "# Layers 图层",
        "",
        "Made from `cim/catalog/*.yaml` by `make docs`; change the catalog, not this page.",
        "",
    ]
    for data_class in catalog.classes:
        lines += [f"## {data_class.code} {data_class.title.zh} {data_class.title.en}", ""]
        for layer in catalog.layers.values():
            if layer.class_code.startswith(data_class.code):
                lines += _layer(layer)
    lines += ["## Code lists 代码表", ""]
    for codes in catalog.code_lists.values():
        lines += [f"### `{codes.id}` {codes.title.zh} {codes.title.en}", "", f"Source: {codes.source}.", ""]
        lines += ["| value | 中文 | English |", "|---|---|---|"]
        lines += [f"| `{c.value}` | {c.title.zh} | {c.title.en} |" for c in codes.codes]
        lines.append("")
    return "\n".join(lines)


def _layer(layer: Layer) -> list[str]:
    kind = layer.geometry or (f"observations of `{layer.observes}`" if layer.observes else layer.kind)
    lines = [
        f"### `{layer.id}` {layer.title.zh} {layer.title.en}",
        "",
        f"{layer.description.zh}。{layer.description.en}.",
        f"{kind}, class {layer.class_code}, CIM level {layer.cim_level}"
        + (f", 3D tiles with leaves at level {layer.leaf_level}." if layer.leaf_level else "."),
        "",
    ]
    if layer.all_fields:
        lines += ["| field | 中文 | English | type | unit | M/C/O | codes |", "|---|---|---|---|---|---|---|"]
        for field in layer.all_fields:
            codes = f"[`{field.codes}`](#{field.codes})" if field.codes else ""
            secret = " (sensitive)" if field.sensitive else ""
            lines.append(
                f"| `{field.name}`{secret} | {field.title.zh} | {field.title.en} | {field.type} | {field.unit or ''} "
                f"| {field.obligation} | {codes} |"
            )
        lines.append("")
    return lines


if __name__ == "__main__":
    Path("docs/layers.md").write_text(layers_page(read_catalog()), "utf-8")
