"""Accounts: who may do what. A key is shown once, and only its hash is kept."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args

from cim.errors import BadRequest, NotFound
from cim.messages import say
from cim.store.connection import Cursor

Role = Literal["viewer", "editor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
KEY_BYTES = 32


@dataclass(frozen=True)
class Account:
    """Who asks, and in which role; each role may do what those before it may."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether the account's role is at least another."""
        return ROLES.index(self.role) >= ROLES.index(role)


def hash_of(key: str) -> bytes:
    """Return what is stored of a key: keys are random, so one round of SHA-256 can't be turned around."""
    return hashlib.sha256(key.encode()).digest()


def add_account(cursor: Cursor, name: str, role: Role) -> str:
    """Add an account, or give one another role and a new key; return the key.

    Raises:
        BadRequest: the name can't be a user name of Basic authentication, or there is no such role.

    """
    if not name or ":" in name or not name.isprintable():
        raise BadRequest(say("user-name", name=name))
    if role not in ROLES:
        raise BadRequest(say("no-such-role", role=role, roles=", ".join(ROLES)))
    key = secrets.token_urlsafe(KEY_BYTES)
    cursor.execute(
        """INSERT INTO cim.account (name, role, key_hash) VALUES (%s, %s, %s) ON CONFLICT (name)
           DO UPDATE SET role = excluded.role, key_hash = excluded.key_hash""",
        [name, role, hash_of(key)],
    )
    return key


def remove_account(cursor: Cursor, name: str) -> None:
    """Remove an account; its key is refused from then on.

    Raises:
        NotFound: there is none of that name.

    """
    cursor.execute("DELETE FROM cim.account WHERE name = %s", [name])
    if cursor.rowcount == 0:
        raise NotFound(say("no-user", name=name))


def list_accounts(cursor: Cursor) -> list[tuple[str, str, datetime]]:
    """Return name, role and moment of creation of each account."""
    return cursor.execute("SELECT name, role, created FROM cim.account ORDER BY name").fetchall()


def account_of(cursor: Cursor, key: str) -> Account | None:
    """Return whose a key is, or None."""
    row = cursor.execute("SELECT name, role FROM cim.account_of(%s)", [hash_of(key)]).fetchone()
    return Account(row[0], cast("Role", row[1])) if row else None
