"""The audit: a row a write, in the transaction of the write."""

import getpass
import os
from collections.abc import Mapping
from typing import Any

from cim.access.asker import COMMAND_LINE, Asker
from cim.store.binary_copy import json_text
from cim.store.connection import Cursor


def system_user() -> str:
    """Return who runs the program."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return f"user {os.getuid()}"


def note(
    cursor: Cursor,
    action: str,
    *,
    asker: Asker = COMMAND_LINE,
    layer: str | None = None,
    identifier: str | None = None,
    load: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Note a write: who did what to which object, by which load.

    Args:
        cursor: in the transaction of the write.
        action: such as load, created, replaced, deleted, user added.
        asker: who; without an account it was the command line, whose user of the system is kept.
        layer: of the object.
        identifier: of the object or user.
        load: the load that holds what was written.
        detail: what else is worth knowing.

    """
    details = dict(detail or {})
    if asker == COMMAND_LINE:
        details["system_user"] = system_user()
    cursor.execute(
        """INSERT INTO cim.audit (account, role, address, action, layer, id, load, detail)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb)""",
        [
            *(asker.account, asker.role, asker.address, action, layer, identifier, load),
            json_text(details),
        ],
    )
