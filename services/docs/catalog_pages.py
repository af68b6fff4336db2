"""Pages made from registries: `docs/layers.md`, the city's data dictionary, and `docs/analyses.md`."""

from pathlib import Path

from cim.analysis.engine.registry import analyses
from cim.catalog.assumptions import read_assumptions
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


def analyses_page() -> str:
    """Return the page of the analyses: a section a row of the registry, its inputs, outputs and definitions."""
    lines = [
        "# Analyses 分析",
        "",
        "Made from the registry in `cim/analysis` by `make docs`; change the registry, not this page.",
        "",
        "Each is a process at `/ogc/processes`, `cim analyse NAME --param KEY=VALUE`, `twin.analyse(NAME, KEY=VALUE)`,"
        " and a form in the viewer. A result is GeoJSON whose other members are figures, `check` and `computed_from`.",
        "",
    ]
    for row in analyses().values():
        lines += [
            f"## `{row.name}` {row.title.zh} {row.title.en}",
            "",
            f"{row.description.zh}。{row.description.en}.",
            "",
        ]
        given = "".join(f" --param {key}={value}" for key, value in row.declaration.example.items())
        lines += [f"    cim analyse {row.name}{given}", ""]
        lines += ["| input | 中文 | English | unit | default | |", "|---|---|---|---|---|---|"]
        schema = row.declaration.parameters.model_json_schema()
        for name, input_schema in schema["properties"].items():
            needed = "required" if name in schema.get("required", ()) else input_schema.get("default")
            shown = "" if needed is None else needed
            zh, en, unit, meaning = (input_schema.get(key, "") for key in ("zh", "title", "unit", "description"))
            lines.append(f"| `{name}` | {zh} | {en} | {unit} | {shown} | {meaning} |")
        lines += ["", "| output | 中文 | English | unit | definition |", "|---|---|---|---|---|"]
        for output in row.declaration.outputs.values():
            definition = f"{output.definition.zh}；{output.definition.en}" if output.definition else ""
            lines.append(
                f"| `{output.name}` | {output.title.zh} | {output.title.en} | {output.unit or ''} | {definition} |"
            )
        lines.append("")
    lines += ["## Assumptions 假定", "", "| id | value | unit | source |", "|---|---|---|---|"]
    for assumption in read_assumptions().rows.values():
        lines.append(f"| `{assumption.id}` | {assumption.value:g} | {assumption.unit} | {assumption.source} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    Path("docs/layers.md").write_text(layers_page(read_catalog()), "utf-8")
    Path("docs/analyses.md").write_text(analyses_page(), "utf-8")
