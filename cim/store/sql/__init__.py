"""Numbered SQL files, applied in order by `cim init`."""
