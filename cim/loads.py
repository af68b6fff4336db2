"""Loads: what came in when."""

from collections.abc import Iterator

from cim.store import Store


def list_loads(store: Store) -> Iterator[str]:
    """Yield a line on each load, the newest first."""
    with store.connect() as connection:
        rows = connection.execute("SELECT load, started, report FROM cim.load ORDER BY load DESC").fetchall()
    for number, started, report in rows:
        files = (report or {}).get("files", [])
        layers = ", ".join(sorted({layer for file in files for layer in file["layers"]}))
        total = {key: sum(file[key] for file in files) for key in ("loaded", "updated", "unchanged", "refused")}
        counts = ", ".join(f"{count} {key}" for key, count in total.items())
        yield f"{number}  {started:%Y-%m-%d %H:%M}  {len(files)} files → {layers}: {counts}"
