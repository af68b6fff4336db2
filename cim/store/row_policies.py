"""Who sees which rows: the one rule, which PostgreSQL applies to whatever the server reads."""


def visible_rows(table: str) -> list[str]:
    """Return the statements by which rows that aren't public are seen by who has signed in.

    The owner, who loads and tiles, sees all. It is the rule for the rows of every kind: objects, values, and the files
    of rasters, clouds and sets.

    Args:
        table: its quoted name.

    """
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS visible ON {table}",
        f"CREATE POLICY visible ON {table} FOR SELECT USING (public OR current_setting('cim.role', true) <> '')",
    ]
