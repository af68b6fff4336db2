"""Sources on a schedule: a table of another database, a file over HTTP, a folder that files are dropped into."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cim.errors import BadSettings
from cim.store import cluster
from cim.store.connection import Store, connect
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from ingest.sources import feeds
from ingest.sources.feeds import Ran, list_feeds, read_feeds, run_due

NOW = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)


def points(*names: str) -> str:
    shapes = [
        {
            "type": "Feature",
            "id": n,
            "properties": {},
            "geometry": {"type": "Point", "coordinates": [113.58, 37.86 + k / 1e4]},
        }
        for k, n in enumerate(names)
    ]
    return json.dumps({"type": "FeatureCollection", "features": shapes})


def count(store: Store, layer: str = "hydrant") -> int:
    with store.connect() as connection:
        row = connection.execute(
            f'SELECT count(*) FROM twin."{layer}" WHERE upper_inf(recorded) AND upper_inf(valid)'.encode()
        ).fetchone()
    return int(row[0]) if row else -1


def run(store: Store, path: Path, *names: str, now: datetime = NOW) -> list[Ran]:
    ran: list[Ran] = []
    run_due(store, path, names=names, now=now, report_run=ran.append)
    return ran


@pytest.fixture
def other(private_cluster: cluster.Cluster, tmp_path: Path) -> Iterator[str]:
    """Another database with a view of points in another CRS, one of them without a place."""
    name = f"other_{tmp_path.name.lower()}"[:60]
    admin = private_cluster.url("postgres", "postgres")
    with connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = private_cluster.url("postgres", name)
    with connect(url) as connection:
        connection.execute("CREATE EXTENSION postgis")
        connection.execute(
            """CREATE TABLE wells (gid int PRIMARY KEY, 型号 text, built date, deep numeric(6, 2),
               geom geometry(Point, 4490))"""
        )
        connection.execute(
            """INSERT INTO wells SELECT k, '型' || k, date '2020-01-01' + k, k / 4.0,
                      CASE WHEN k < 12 THEN ST_SetSRID(ST_MakePoint(113.58 + k / 1000.0, 37.86), 4490) END
               FROM generate_series(1, 12) k"""
        )
        connection.execute("CREATE VIEW v_wells AS SELECT * FROM wells")
    yield url
    with connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def describe(folder: Path, url: str, what: str = 'table = "public.v_wells"') -> Path:
    path = folder / "hydrant.pg.toml"
    path.write_text(f'url = "{url}"\n{what}\nid = "gid"\n', "utf-8")
    return path


def test_a_view_of_another_database_goes_in(store: Store, other: str, tmp_path: Path) -> None:
    report = ingest(store, [describe(tmp_path, other)], Declared())
    (file,) = report.files
    assert (file.crs, file.read, file.loaded, file.refused) == ("EPSG:4490", 12, 11, 1), report.summary()
    with store.connect() as connection:
        row = connection.execute("SELECT extra FROM twin.hydrant WHERE id = '3'").fetchone()
    assert row is not None
    assert row[0]["built"] == "2020-01-04"
    assert float(row[0]["deep"]) == 0.75


def test_a_query_reads_a_part(store: Store, other: str, tmp_path: Path) -> None:
    path = describe(tmp_path, other, 'query = "SELECT * FROM wells WHERE gid <= 3;"')
    assert ingest(store, [path], Declared()).files[0].loaded == 3


def test_nothing_is_written_there(store: Store, other: str, tmp_path: Path) -> None:
    path = describe(tmp_path, other, 'query = "DELETE FROM wells RETURNING *"')
    assert ingest(store, [path], Declared()).exit_code == 1
    with connect(other) as connection:
        assert connection.execute("SELECT count(*) FROM wells").fetchone() == (12,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('url = "host=/nowhere dbname=x"\ntable = "t"', "no connection"),
        ('url = "URL"\ntable = "no_such"', "can't be read"),
        ('url = "URL"\nquery = "SELECT FROM WHERE"', "can't be read"),
        ('url = "URL"', "either `table` or `query`"),
        ('url = "${NO_SUCH_VARIABLE}"\ntable = "t"', "no environment variable NO_SUCH_VARIABLE"),
        ("url = ", "doesn't describe a table"),
        ('url = "URL"\ntable = "wells\\"; DROP TABLE wells; --"', "can't be read"),
    ],
)
def test_what_cannot_be_read_is_said(store: Store, other: str, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "hydrant.pg.toml"
    path.write_text(text.replace("URL", other), "utf-8")
    report = ingest(store, [path], Declared())
    assert report.exit_code == 1
    assert said in (report.files[0].error or "")


def test_a_feed_of_a_table_follows_it(store: Store, other: str, tmp_path: Path) -> None:
    describe(tmp_path, other)
    path = tmp_path / "feeds.toml"
    path.write_text('[wells]\nevery = "1h"\nsource = "hydrant.pg.toml"\nlayer = "hydrant"\ncomplete = true\n', "utf-8")
    assert [ran.failed for ran in run(store, path)] == [False]
    assert count(store) == 11
    assert run(store, path, now=NOW + timedelta(minutes=59)) == []
    with connect(other) as connection:
        connection.execute("DELETE FROM wells WHERE gid = 1")
        connection.execute("UPDATE wells SET 型号 = '新' WHERE gid = 2")
    (ran,) = run(store, path, now=NOW + timedelta(minutes=61))
    assert "1 updated, 9 unchanged, 1 ended" in ran.outcome
    assert count(store) == 10


class Server:
    """An HTTP server whose one answer the test sets."""

    def __init__(self) -> None:
        self.body, self.etag, self.status, self.kind = b"", "", 200, "application/geo+json"
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append({k.lower(): v for k, v in self.headers.items()})
                same = outer.etag and self.headers.get("If-None-Match") == outer.etag
                self.send_response(304 if same else outer.status)
                if outer.etag:
                    self.send_header("ETag", outer.etag)
                self.send_header("Content-Type", outer.kind)
                self.send_header("Content-Length", "0" if same else str(len(outer.body)))
                self.end_headers()
                if not same:
                    self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.http.shutdown()
    served.http.server_close()


@pytest.mark.parametrize("etag", ['"v1"', ""])
def test_a_feed_over_http_is_fetched_when_it_changed(store: Store, server: Server, tmp_path: Path, etag: str) -> None:
    path = tmp_path / "feeds.toml"
    path.write_text(f'[hydrants]\nevery = "15m"\nsource = "{server.url}/api/items"\nlayer = "hydrant"\n', "utf-8")
    server.body, server.etag = points("a", "b").encode(), etag
    assert [ran.failed for ran in run(store, path)] == [False], "the suffix is told by the media type"
    (again,) = run(store, path, now=NOW + timedelta(minutes=16))
    assert (again.outcome, again.load) == ("unchanged", None)
    assert ("if-none-match" in server.asked[-1]) == bool(etag)
    server.body, server.etag = points("a", "b", "c").encode(), etag and '"v2"'
    (fresh,) = run(store, path, now=NOW + timedelta(minutes=32))
    assert fresh.load is not None
    assert count(store) == 3


def test_a_key_goes_along_from_the_environment(
    store: Store, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEED_KEY", "geheim")
    path = tmp_path / "feeds.toml"
    path.write_text(
        f'[hydrants]\nevery = "15m"\nsource = "{server.url}/hydrant.geojson"\n'
        'headers = { X-Key = "${FEED_KEY}" }\n',
        "utf-8",
    )
    server.body = points("a").encode()
    run(store, path)
    assert server.asked[-1]["x-key"] == "geheim"


@pytest.mark.parametrize(("status", "body"), [(500, b""), (404, b"no"), (200, b"<html>maintenance</html>"), (200, b"")])
def test_a_feed_that_fails_says_why_and_comes_again(
    store: Store, server: Server, tmp_path: Path, status: int, body: bytes
) -> None:
    path = tmp_path / "feeds.toml"
    path.write_text(f'[hydrants]\nevery = "15m"\nsource = "{server.url}/hydrant.geojson"\n', "utf-8")
    server.status, server.body = status, body
    (ran,) = run(store, path)
    assert ran.failed
    assert ran.outcome
    server.status, server.body = 200, points("a").encode()
    assert run(store, path, now=NOW + timedelta(minutes=16))[0].failed is False
    assert count(store) == 1


def test_a_server_that_is_not_there_is_said(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "feeds.toml"
    path.write_text('[hydrants]\nevery = "15m"\nsource = "http://127.0.0.1:9/hydrant.geojson"\n', "utf-8")
    (ran,) = run(store, path)
    assert ran.failed
    with store.connect() as connection, connection.cursor() as cursor:
        assert "failed" in list_feeds(cursor, path, store.city.clock)[0]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def wait(seconds: float) -> None:
        monkeypatch.setattr(feeds, "SETTLED_S", seconds)

    wait(0.0)
    return wait


def test_what_is_dropped_is_loaded_and_moved(store: Store, tmp_path: Path, settled: Callable[[float], None]) -> None:
    drop = tmp_path / "in"
    drop.mkdir()
    (drop / "hydrant.geojson").write_text(points("a", "b"), "utf-8")
    (drop / "broken.geojson").write_text("{", "utf-8")
    (drop / "letter.docx").write_text("dear sirs", "utf-8")
    path = tmp_path / "feeds.toml"
    path.write_text('[office]\nevery = "1m"\ndrop = "in"\n', "utf-8")
    ran = run(store, path)
    assert [r.failed for r in ran] == [True, False, True]
    assert count(store) == 2
    assert sorted(p.name for p in drop.iterdir()) == ["done", "failed"]
    assert sorted(p.name for p in drop.rglob("*") if p.is_file() and p.name != "report.json") == [
        "broken.geojson", "hydrant.geojson", "letter.docx",
    ]  # fmt: skip
    (report,) = (drop / "done").rglob("report.json")
    assert json.loads(report.read_text("utf-8"))["files"][0]["loaded"] == 2
    assert run(store, path, now=NOW + timedelta(minutes=2)) == []


def test_a_file_that_still_grows_is_left_alone(store: Store, tmp_path: Path, settled: Callable[[float], None]) -> None:
    drop = tmp_path / "in"
    drop.mkdir()
    (drop / "hydrant.geojson").write_text(points("a")[:40], "utf-8")
    path = tmp_path / "feeds.toml"
    path.write_text('[office]\nevery = "1m"\ndrop = "in"\n', "utf-8")
    settled(60.0)
    assert run(store, path) == []
    assert (drop / "hydrant.geojson").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[a]\n", '[a]\nevery = "1h"\n', '[a]\nevery = "soon"\nsource = "x"\n',
        '[a]\nevery = "1h"\nsource = "x"\ndrop = "y"\n',
        '[a]\nevery = "1h"\nsource = "x"\nlyer = "z"\n', "[a",
    ],
)  # fmt: skip
def test_a_file_of_feeds_that_is_wrong_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "feeds.toml").write_text(text, "utf-8")
    with pytest.raises(BadSettings):
        read_feeds(tmp_path / "feeds.toml")


def test_a_feed_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no feed nowhere"):
        run(store, tmp_path / "feeds.toml", "nowhere")


def test_no_archive_leads_to_a_database(store: Store, other: str, tmp_path: Path) -> None:
    import zipfile

    describe(tmp_path, other)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "hydrant.pg.toml", "hydrant.pg.toml")
    report = ingest(store, [tmp_path / "x.zip"], Declared())
    assert report.exit_code == 1
    assert count(store) == 0
