"""How a setting that an error misses is given on the command line."""


def how_to_give(setting: str | None) -> str:
    """Return how `cim ingest` takes a setting of the data, to stand behind what misses it; nothing for none."""
    if setting is None:
        return ""
    return f" (--{setting.replace('_', '-')}, or {setting} in a dataset.toml beside the file)"
