"""Feeds: sources that are loaded again and again, on a schedule.

A file `feeds.toml` describes them, one table each:

    [hydrants]
    every = "1h"                                  # s, m, h, d
    source = "hydrant.pg.toml"                    # a table of another database, or any file or folder that can be read,
                                                  # or https://host/file.geojson
    layer = "hydrant"                             # and whatever a dataset.toml may say

    [office]
    every = "1m"
    drop = "/srv/incoming"                        # a folder: what is put there is loaded, then moved to done or failed

A source that hasn't changed isn't loaded again. A feed that fails says why, and is tried again at its next time.
"""

import hashlib
import json
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import Field, ValidationError, field_validator

from cim.access.asker import Asker
from cim.clock import Clock
from cim.errors import BadSettings, CimError, UnreadableFile
from cim.messages import say
from cim.store.connection import Cursor, Store, connect
from ingest.delivery.declared import Declared
from ingest.delivery.report import LoadReport
from ingest.load.pipeline import ingest
from ingest.sources.postgres import substituted

LARGEST_BYTES = 2_000_000_000
REQUEST_S = 60.0
MOST_REDIRECTS = 5
HTTP_PORT, HTTPS_PORT = 80, 443
SETTLED_S = 2.0  # a file in a drop folder that hasn't changed for this long is whole
_EVERY = re.compile(r"(\d+)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MARKED = ("etag", "last-modified")


class Feed(Declared):
    """A source and its schedule, with what is said about it."""

    every: timedelta
    source: str | None = None
    drop: Path | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)  # of a request, such as a key

    @field_validator("every", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        match = _EVERY.fullmatch(str(value).strip())
        if not match:
            raise ValueError("a number and s, m, h or d, such as 15m")
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])

    @property
    def declared(self) -> Declared:
        """What is said about the source."""
        return Declared(**{name: getattr(self, name) for name in Declared.model_fields})


def read_feeds(path: Path) -> dict[str, Feed]:
    """Return the feeds that a file describes, by name; none where there is no file.

    Raises:
        BadSettings: it isn't TOML, or a feed has a key or value that isn't known.

    """
    if not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        feeds = {name: Feed.model_validate(table) for name, table in tables.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as fault:
        raise BadSettings(say("settings-file-cannot-be-used", file=path, reason=fault)) from fault
    for name, feed in feeds.items():
        if (feed.source is None) == (feed.drop is None):
            raise BadSettings(say("has-either-source-drop-folder", file=path, name=name))
    return feeds


@dataclass(frozen=True)
class Ran:
    """What came of running a feed."""

    name: str
    load: int | None
    outcome: str
    mark: str | None = None  # by which the same content is known again
    failed: bool = False


def run_feed(store: Store, name: str, feed: Feed, folder: Path, mark: str | None = None) -> list[Ran]:
    """Run a feed once.

    Args:
        store: the city.
        name: of the feed.
        feed: the feed.
        folder: to which paths in it are relative.
        mark: of the content that was loaded last.

    Returns:
        A run for each file of a drop folder, else one.

    """
    try:
        if feed.drop is not None:
            return _empty_drop(store, name, feed, folder / feed.drop)
        with TemporaryDirectory() as scratch:
            path, fresh = _fetched(feed, name, folder, Path(scratch), mark)
            if path is None or (fresh is not None and fresh == mark):
                return [Ran(name, None, "unchanged", mark)]
            report = _load(store, name, feed, path, name, of_others=path.is_relative_to(scratch))
    except (CimError, httpx.HTTPError, OSError) as fault:
        return [Ran(name, None, str(fault) or type(fault).__name__, mark, failed=True)]
    return [_ran(name, report, fresh)]


def _ran(name: str, report: LoadReport, mark: str | None) -> Ran:
    return Ran(name, report.load, report.summary(), mark if report.load else None, failed=report.exit_code == 1)


def _load(store: Store, name: str, feed: Feed, path: Path, dataset: str, *, of_others: bool) -> LoadReport:
    declared = feed.declared if feed.dataset else feed.declared.model_copy(update={"dataset": dataset})
    return ingest(store, [path], declared, asker=Asker(account=f"feed {name}"), of_others=of_others)


def _fetched(feed: Feed, name: str, folder: Path, scratch: Path, mark: str | None) -> tuple[Path | None, str | None]:
    """Return the source as a path, None where its server says that it is unchanged, and by what it is known again."""
    source = feed.source or ""
    if urlsplit(source).scheme in ("http", "https"):
        return _downloaded(feed, name, folder, scratch, mark)
    path = folder / source
    if path.name.endswith(".pg.toml") or not path.is_file():
        return path, None  # only reading it tells whether it changed; the merge finds that out
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()


def _downloaded(feed: Feed, name: str, folder: Path, scratch: Path, mark: str | None) -> tuple[Path | None, str | None]:
    """Fetch a file over HTTP, unless its server says that it is what was loaded last."""
    previous = json.loads(mark) if mark and mark.startswith("{") else {}
    asked = {name: substituted(value, folder / "feeds.toml") for name, value in feed.headers.items()}
    asked |= {"If-None-Match": previous["etag"]} if "etag" in previous else {}
    asked |= {"If-Modified-Since": previous["last-modified"]} if "last-modified" in previous else {}
    source = substituted(feed.source or "", folder / "feeds.toml")
    with _answer(source, asked) as answer:
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None, mark
        answer.raise_for_status()
        path = scratch / f"{name}{_suffix(answer)}"
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for piece in answer.iter_bytes():
                size += len(piece)
                if size > LARGEST_BYTES:
                    raise UnreadableFile(
                        say("download-more-than-gb", source=feed.source, largest_bytes=LARGEST_BYTES // 10**9)
                    )
                digest.update(piece)
                file.write(piece)
        validators = {key: answer.headers[key] for key in _MARKED if key in answer.headers}
    if previous.get("sha256") == digest.hexdigest():
        return None, mark
    return path, json.dumps(validators | {"sha256": digest.hexdigest()})


@contextmanager
def _answer(source: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """Ask for a source; its server may lead to another address of its own, but to no other server.

    Raises:
        UnreadableFile: it leads to another server, or goes on leading.

    """
    first = address = httpx.URL(source)
    for _ in range(MOST_REDIRECTS):
        with httpx.stream("GET", address, headers=dict(headers), timeout=REQUEST_S) as answer:
            if answer.next_request is None:
                yield answer
                return
            address = answer.next_request.url
        if (address.host, _port(address)) not in ((first.host, _port(first)), (first.host, HTTPS_PORT)):
            raise UnreadableFile(say("server-leads-if-right-name-address", source=source, host=address.host))
    raise UnreadableFile(say("server-leads", source=source))


def _port(address: httpx.URL) -> int | None:
    return address.port or {"http": HTTP_PORT, "https": HTTPS_PORT}.get(address.scheme)


def _suffix(answer: httpx.Response) -> str:
    """Return the suffix of what was sent: that of its address, else by its media type."""
    path = PurePosixPath(urlsplit(str(answer.url)).path)
    if path.suffix:
        return "".join(path.suffixes[-2:]) if path.name.lower().endswith((".city.json", ".city.jsonl")) else path.suffix
    kind = answer.headers.get("content-type", "").split(";")[0].strip()
    suffix_by_type = {
        "application/geo+json": ".geojson",
        "text/csv": ".csv",
        "application/zip": ".zip",
        "application/json": ".json",
    }
    return suffix_by_type.get(kind, "")


def _empty_drop(store: Store, name: str, feed: Feed, folder: Path) -> list[Ran]:
    """Load what lies in a drop folder and is whole; move it to `done` or `failed`, with the report beside it."""
    if not folder.is_dir():
        raise UnreadableFile(say("no-such-folder", folder=folder))
    ran = []
    for path in sorted(folder.iterdir(), key=lambda p: (not p.is_symlink(), p)):  # links go before what they lie beside
        if path.name in ("done", "failed") or path.name.startswith("."):
            continue
        if not _leads_elsewhere(path) and not _is_settled(path):
            continue
        try:
            if _leads_elsewhere(path):
                raise UnreadableFile(say("link-not-followed", file=path))
            report = _load(store, name, feed, path, path.stem, of_others=True)
            run, text = _ran(name, report, None), json.dumps(report.as_json(), ensure_ascii=False, indent=1)
        except CimError as fault:
            run, text = Ran(name, None, str(fault), failed=True), json.dumps({"error": str(fault)}, ensure_ascii=False)
        target = folder / ("failed" if run.failed else "done") / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        target.mkdir(parents=True)
        shutil.move(str(path), str(target / path.name))
        (target / "report.json").write_text(text, "utf-8")
        ran.append(run)
    return ran


def _leads_elsewhere(path: Path) -> bool:
    return path.is_symlink() or (path.is_dir() and any(inside.is_symlink() for inside in path.rglob("*")))


def _is_settled(path: Path) -> bool:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return bool(files) and time.time() - max(p.stat().st_mtime for p in files) >= SETTLED_S


def run_due(
    store: Store, path: Path, *, names: tuple[str, ...] = (), now: datetime | None = None,
    report_run: Callable[[Ran], None] = lambda _: None,
) -> datetime | None:  # fmt: skip
    """Run the feeds of a file whose time has come, or those that are named; return when the next one is due.

    One program at a time runs them; what came of each is noted in `cim.feed`.
    """
    feeds = read_feeds(path)
    if unknown := sorted(set(names) - set(feeds)):
        raise BadSettings(say("no-feed", file=path, unknown=", ".join(unknown), feeds=", ".join(feeds) or "none"))
    with connect(store.url, autocommit=True) as connection, connection.cursor() as cursor:
        if not (row := cursor.execute("SELECT pg_try_advisory_lock(hashtext('cim.feeds'))").fetchone()) or not row[0]:
            return None
        try:
            for name, feed in feeds.items():
                moment = now or datetime.now(UTC)
                mark, last = _known(cursor, name)
                if name in names or (not names and (last is None or moment - last >= feed.every)):
                    for ran in run_feed(store, name, feed, path.parent, mark):
                        _note(cursor, ran, moment)
                        report_run(ran)
                    if feed.drop is not None:
                        _note(cursor, Ran(name, None, "looked into the folder"), moment, only_time=True)
            due = [(_known(cursor, name)[1] or datetime.now(UTC)) + feed.every for name, feed in feeds.items()]
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('cim.feeds'))")
    return min(due, default=None)


def _known(cursor: Cursor, name: str) -> tuple[str | None, datetime | None]:
    row = cursor.execute("SELECT mark, ran FROM cim.feed WHERE name = %s", [name]).fetchone()
    return (row[0], row[1]) if row else (None, None)


def _note(cursor: Cursor, ran: Ran, moment: datetime, *, only_time: bool = False) -> None:
    updates = (
        ""
        if only_time
        else ", load = coalesce(excluded.load, feed.load), said = excluded.said, failed = excluded.failed"
    )
    cursor.execute(
        f"""INSERT INTO cim.feed (name, ran, load, said, failed, mark) VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (name) DO UPDATE SET ran = excluded.ran, mark = coalesce(excluded.mark, feed.mark){updates}""",
        [ran.name, moment, ran.load, ran.outcome, ran.failed, ran.mark],
    )


def list_feeds(cursor: Cursor, path: Path, clock: Clock) -> list[str]:
    """Return a line for each feed: when it ran, and what came of it."""
    lines = []
    for name, feed in read_feeds(path).items():
        row = cursor.execute("SELECT ran, load, said, failed FROM cim.feed WHERE name = %s", [name]).fetchone()
        source = feed.source or f"drop folder {feed.drop}"
        if row is None:
            lines.append(f"{name}  every {feed.every}  {source}: never ran")
            continue
        outcome = "failed: " if row[3] else ""
        first = next(iter(row[2].splitlines()), "")
        lines.append(
            f"{name}  every {feed.every}  {source}: {clock.shown(row[0])}  load {row[1] or '—'}  {outcome}{first}"
        )
    return lines
