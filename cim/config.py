"""Settings: one typed value, read once at the edge and passed on."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from cim.errors import BadSettings


@dataclass(frozen=True)
class Settings:
    """What a process needs to know about where it runs; no secret shows in its `repr`."""

    state: Path = Path(".cim")  # cluster, tiles, assets, city file
    database_url: str | None = field(default=None, repr=False)  # the owner's login; None: private cluster
    serve_database_url: str | None = field(default=None, repr=False)  # the server's own role
    pg_bin: Path | None = None  # folder of initdb and pg_ctl; None: looked for
    workers: int = 0  # processes for parallel work; 0: one per core

    @property
    def tile_store(self) -> Path:
        """Folder of the tile store, which any static file server can serve."""
        return self.state / "tiles"

    @property
    def asset_store(self) -> Path:
        """Folder of the content-addressed asset store."""
        return self.state / "assets"

    @property
    def worker_count(self) -> int:
        """Processes for parallel work, at least one."""
        return self.workers or os.cpu_count() or 1


def read_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Read `CIM_*` from the environment, and what it leaves open from `cim.toml`.

    Raises:
        BadSettings: `cim.toml` isn't TOML, has an unknown key, or a value of the wrong type.

    """
    path = file or Path("cim.toml")
    try:
        declared = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise BadSettings(f"{path}: not a TOML file ({fault})") from fault
    names = [f.name for f in fields(Settings)]
    if unknown := sorted(declared.keys() - set(names)):
        raise BadSettings(f"{path}: unknown setting {', '.join(unknown)}; known are {', '.join(names)}")
    values = declared | {n: environ[f"CIM_{n.upper()}"] for n in names if environ.get(f"CIM_{n.upper()}")}
    try:
        return Settings(
            state=Path(values.get("state", ".cim")).absolute(),
            database_url=values.get("database_url"),
            serve_database_url=values.get("serve_database_url"),
            pg_bin=Path(values["pg_bin"]) if "pg_bin" in values else None,
            workers=int(values.get("workers", 0)),
        )
    except (TypeError, ValueError) as fault:
        raise BadSettings(f"CIM_* or {path}: {fault}") from fault
