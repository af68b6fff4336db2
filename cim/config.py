"""Settings: one typed value, read once at the edge and passed on."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from cim.errors import BadSettings
from cim.messages import say


@dataclass(frozen=True)
class Settings:
    """What a process needs to know about where it runs; no secret shows in its `repr`."""

    state: Path = field(
        default=Path(".cim"),
        metadata={"en": "folder of cluster, tiles, assets and uploads", "zh": "状态目录：数据库、切片、文件和上传"},
    )
    database_url: str | None = field(
        default=None,
        repr=False,
        metadata={
            "en": "the owner's login at a server of yours; else a private cluster",
            "zh": "所有者连接串；否则用私有集群",
        },
    )
    serve_database_url: str | None = field(
        default=None, repr=False, metadata={"en": "the server's own role there", "zh": "服务进程自己的角色"}
    )
    pg_bin: Path | None = field(
        default=None,
        metadata={"en": "folder of initdb and pg_ctl; else looked for", "zh": "PostgreSQL 程序目录；否则自动查找"},
    )
    log: str = field(
        default="quiet",
        metadata={"en": "json: a line a request to standard error", "zh": "json：每个请求一行日志"},
    )
    workers: int = field(
        default=0, metadata={"en": "processes for parallel work; 0: one a core", "zh": "并行进程数；0 为每核一个"}
    )

    memory_mb: int = field(
        default=1500,
        metadata={
            "en": "megabytes that a process may use for a big file",
            "zh": "处理大文件时每个进程可用的内存（MB）",
        },
    )

    spool_mb: int = field(
        default=4000,
        metadata={
            "en": "megabytes on disk that the downloads under way may take, for each process that answers",
            "zh": "每个应答进程中正在进行的下载可占用的磁盘空间（MB）",
        },
    )
    client_wait_s: float = field(
        default=60.0,
        metadata={
            "en": "seconds after which a client is dropped that takes nothing of its answer",
            "zh": "客户端不再接收应答时，多少秒后断开",
        },
    )

    feeds: Path | None = field(
        default=None,
        metadata={
            "en": "file of the sources that are loaded on a schedule; else feeds.toml in the state folder",
            "zh": "定时入库的数据源文件；默认为状态文件夹中的 feeds.toml",
        },
    )

    @property
    def feeds_file(self) -> Path:
        """File of the sources that are loaded on a schedule."""
        return self.feeds or self.state / "feeds.toml"

    @property
    def memory_bytes(self) -> int:
        """Bytes that a process may use for a big file."""
        return self.memory_mb * 1_000_000

    @property
    def spool_store(self) -> Path:
        """Folder of the files that downloads are on their way in."""
        return self.state / "spool"

    @property
    def tile_store(self) -> Path:
        """Folder of the tile store, which any static file server can serve."""
        return self.state / "tiles"

    @property
    def asset_store(self) -> Path:
        """Folder of the content-addressed asset store."""
        return self.state / "assets"

    @property
    def result_store(self) -> Path:
        """Folder of kept results of analyses: they can be computed again, and aren't backed up."""
        return self.state / "results"

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
        raise BadSettings(say("not-toml-file", file=path, reason=fault)) from fault
    names = [f.name for f in fields(Settings)]
    if unknown := sorted(declared.keys() - set(names)):
        raise BadSettings(say("unknown-setting", file=path, unknown=", ".join(unknown), names=", ".join(names)))
    values = declared | {n: environ[f"CIM_{n.upper()}"] for n in names if environ.get(f"CIM_{n.upper()}")}
    try:
        return Settings(
            state=Path(values.get("state", ".cim")).absolute(),
            database_url=values.get("database_url"),
            serve_database_url=values.get("serve_database_url"),
            pg_bin=Path(values["pg_bin"]) if "pg_bin" in values else None,
            log=_one_of("log", str(values.get("log", "quiet")), ("quiet", "json")),
            workers=int(values.get("workers", 0)),
            memory_mb=int(values.get("memory_mb", 1500)),
            spool_mb=int(values.get("spool_mb", 4000)),
            client_wait_s=float(values.get("client_wait_s", 60.0)),
            feeds=Path(values["feeds"]).absolute() if "feeds" in values else None,
        )
    except (TypeError, ValueError) as fault:
        raise BadSettings(say("settings-cannot-be-used", file=path, reason=fault)) from fault


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} = {value!r}; one of {', '.join(allowed)}")
    return value
