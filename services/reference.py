"""Reference pages made from what the program is: `docs/commands.md`, `docs/settings.md`, `docs/readers.md`."""

from dataclasses import fields
from pathlib import Path

import click

from cim.config import Settings
from ingest.readers import READERS
from services.cli import cli

_MADE = "Made from the program by `make docs`; change the program, not this page."


def commands_page() -> str:
    """Return the page of the command line: a section a command, as `--help` says it."""
    lines = ["# Commands 命令", "", _MADE, ""]
    for name, command in _commands("cim", cli):
        context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
        lines += [f"## `{name}`", "", "```text", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(lines)


def _commands(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [found for key in sorted(command.commands) for found in _commands(f"{name} {key}", command.commands[key])]


def settings_page() -> str:
    """Return the page of the settings."""
    lines = ["# Settings 设置", "", _MADE, ""]
    lines += ["Read once from the environment (`CIM_…`), and what that leaves open from `cim.toml`.", ""]
    lines += ["| environment | cim.toml | default | 中文 | English |", "|---|---|---|---|---|"]
    for field in fields(Settings):
        said = field.metadata
        default = "" if field.default is None else field.default
        lines.append(f"| `CIM_{field.name.upper()}` | `{field.name}` | {default} | {said['zh']} | {said['en']} |")
    return "\n".join([*lines, ""])


def readers_page() -> str:
    """Return the page of the readers: which file is read how."""
    lines = ["# Readers 读取器", "", _MADE, "", "| format | suffixes | gives | module |", "|---|---|---|---|"]
    for row in READERS:
        suffixes = ", ".join(f"`{suffix}`" for suffix in row.suffixes)
        lines.append(f"| {row.name} | {suffixes} | {row.kind} | `{row.module}` |")
    return "\n".join([*lines, ""])


PAGES = {"commands": commands_page, "settings": settings_page, "readers": readers_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        Path(f"docs/{page}.md").write_text(make(), "utf-8")
