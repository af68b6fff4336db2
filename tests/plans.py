"""What PostgreSQL did for each statement of a database: plans as `auto_explain` logs them, with the rows counted."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from cim.store import cluster
from cim.store.connection import Store, connect

_LOGGED = re.compile(r"LOG:  duration: .* plan:$")
_SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_verbose": "on",
    "auto_explain.log_format": "json",
}
# what makes a box or moves a shape: as a condition on rows it is done again for each of them
_MAKES_A_BOX = re.compile(r"\bst_(srid|setsrid|extent|expand|transform|makeenvelope|tileenvelope|buffer)\(")
_MAKES_A_TILE = re.compile(r"\bst_(tileenvelope|makeenvelope)\(")


@dataclass(frozen=True)
class Statement:
    """A statement as it ran."""

    text: str
    plan: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield the nodes of its plan."""
        yield from _nodes(self.plan)

    def rows_visited(self) -> int:
        """Return how many rows its nodes looked at, those that they threw away among them."""
        return sum(_visited(node) for node in self.nodes())

    def per_row_faults(self) -> list[str]:
        """Return what of it is computed for each row that one computation would do for."""
        faults = [f"a box made for each row: {condition}" for condition in self._conditions()]
        faults += [
            f"a tile made for each row: {text}"
            for node in self.nodes()
            if node.get("Actual Rows", 0) > 1
            for text in node.get("Output", ())
            if _MAKES_A_TILE.search(text)
        ]
        for node in self.nodes():
            if node.get("Parent Relationship") == "SubPlan" and node["Actual Loops"] > 1:
                faults += [
                    f"a table read whole for each row: {within['Relation Name']}"
                    for within in _nodes(node)
                    if within["Node Type"] == "Seq Scan"
                ]
        return faults

    def _conditions(self) -> list[str]:
        scans = (node["Filter"] for node in self.nodes() if "Relation Name" in node and "Filter" in node)
        joins = (node["Join Filter"] for node in self.nodes() if "Join Filter" in node)
        conditions = (*scans, *joins)
        return [text for text in conditions if _MAKES_A_BOX.search(text)]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _visited(node: dict[str, Any]) -> int:
    removed = sum(rows for name, rows in node.items() if name.startswith("Rows Removed"))
    return int((node.get("Actual Rows", 0) + removed) * node.get("Actual Loops", 1))


@contextmanager
def watched(private: cluster.Cluster, store: Store, **settings: str) -> Iterator[list[Statement]]:
    """Give the statements of a block, once it has ended; `settings` hold for the database meanwhile."""
    name = conninfo_to_dict(store.url)["dbname"]
    log = private.folder / "log"
    statements: list[Statement] = []
    with connect(private.url("postgres", "postgres"), autocommit=True) as admin:
        for setting, value in (_SETTINGS | settings).items():
            admin.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'".encode())
        begin = log.stat().st_size
        try:
            yield statements
        finally:
            admin.execute(f'ALTER DATABASE "{name}" RESET ALL'.encode())
            statements += _logged(log, begin)


def _logged(log: Path, begin: int) -> Iterator[Statement]:
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode("utf-8", "replace").splitlines()
    plan: list[str] | None = None
    for line in [*lines, "end"]:
        if plan is not None and line.startswith("\t"):
            plan.append(line)
            continue
        if plan:
            logged = json.loads("\n".join(plan))
            yield Statement(logged["Query Text"], logged["Plan"])
        plan = [] if _LOGGED.search(line) else None
