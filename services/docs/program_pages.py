"""Reference pages made from what the program is: commands, settings, readers, dataset.toml."""

from dataclasses import fields
from pathlib import Path
from typing import cast

import click

from cim.config import Settings
from ingest.delivery.archives import ARCHIVES
from ingest.delivery.declared import Declared
from ingest.formats.readers import READERS
from services.cli.main import cli

_MADE = "Made from the program by `make docs`; change the program, not this page."


def commands_page() -> str:
    """Return the page of the command line: a section a command, as `--help` says it."""
    lines = ["# Commands 命令", "", _MADE, ""]
    names = cli.context_settings["help_option_names"]
    for name, command in commands_of("cim", cli):
        context = click.Context(
            command, info_name=name, terminal_width=100, max_content_width=100, help_option_names=names
        )
        lines += [f"## `{name}`", "", "```text", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(lines)


def commands_of(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """Return the commands of a group and of the groups in it, by what a person types."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [entry for key in sorted(command.commands) for entry in commands_of(f"{name} {key}", command.commands[key])]


def settings_page() -> str:
    """Return the page of the settings."""
    lines = ["# Settings 设置", "", _MADE, ""]
    lines += ["Read once from the environment (`CIM_…`), and what that leaves open from `cim.toml`.", ""]
    lines += ["| environment | cim.toml | default | 中文 | English |", "|---|---|---|---|---|"]
    for field in fields(Settings):
        descriptions = field.metadata
        default = "" if field.default is None else field.default
        lines.append(
            f"| `CIM_{field.name.upper()}` | `{field.name}` | {default} | {descriptions['zh']} | {descriptions['en']} |"
        )
    return "\n".join([*lines, ""])


def readers_page() -> str:
    """Return the page of the readers: which file is read how."""
    lines = ["# Readers 读取器", "", _MADE, "", "| format | suffixes | gives | module |", "|---|---|---|---|"]
    for row in READERS:
        suffixes = ", ".join(f"`{suffix}`" for suffix in row.suffixes)
        lines.append(f"| {row.name} | {suffixes} | {row.kind} | `{row.module}` |")
    archives = ", ".join(f"`{suffix}`" for suffix in ARCHIVES)
    lines += ["", f"An archive ({archives}) holds any of them; its files are read in its place."]
    memory_times = {suffix: times for row in READERS for suffix, times in row.memory_factors.items()}
    shown = ", ".join(f"`{suffix}` {times}" for suffix, times in memory_times.items())
    streamed = "Files are read as they stream, or in parts. Some formats are held whole, at so many times a file's size"
    lines += ["", f"{streamed}; what wouldn't fit in `memory_mb` is refused beforehand: {shown}."]
    return "\n".join([*lines, ""])


def dataset_page() -> str:
    """Return the page of dataset.toml: what can be said of files that don't say it themselves."""
    lines = ["# dataset.toml 数据集说明", "", _MADE, "", *_OF_DATASETS, "", "| key | 中文 | English |", "|---|---|---|"]
    for name, key in Declared.model_fields.items():
        descriptions = cast("dict[str, str]", key.json_schema_extra)
        lines.append(f"| `{name}` | {descriptions['zh']} | {descriptions['en']} |")
    return "\n".join([*lines, ""])


_OF_DATASETS = (
    "It lies in the folder of the files or above it, within what is loaded; the nearest holds.",
    '`[files."PATTERN"]` says what holds for some of them. An option of `cim ingest` wins.',
    "",
    "dataset.toml 放在文件所在目录或其上级（在所加载的目录之内），以最近者为准；",
    '`[files."PATTERN"]` 只对部分文件有效；命令行选项优先。',
    "",
    "```toml",
    'vertical_datum = "city"',
    "date = 2025-03-01",
    "",
    '[files."air*.csv"]',
    'layer = "sensor_observation"',
    'values = ["PM2.5", "PM10"]',
    'columns = { station = "feature" }',
    "```",
)

PAGES = {"commands": commands_page, "dataset": dataset_page, "settings": settings_page, "readers": readers_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        Path(f"docs/{page}.md").write_text(make(), "utf-8")
