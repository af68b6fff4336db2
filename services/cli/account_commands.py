"""Who may sign in."""

from typing import Literal

import click

from cim.config import read_settings
from services.cli.group import cli


@cli.group()
def user() -> None:
    """Who may sign in, and in which role."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "editor", "admin"]), default="viewer", show_default=True)
def user_add(name: str, role: Literal["viewer", "editor", "admin"]) -> None:
    """Add a user, or give one another role and a new key. The key is shown once."""
    from cim.access.accounts import add_account
    from cim.access.audit import note
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        key = add_account(cursor, name, role)
        note(cursor, "user added", identifier=name, detail={"role": role})
    click.echo(f"{name} is {role}. The key, as header X-API-Key or as the password of Basic:", err=True)
    click.echo(key)


@user.command("list")
def user_list() -> None:
    """List the users."""
    from cim.access.accounts import list_accounts
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        for name, role, created in list_accounts(cursor):
            click.echo(f"{name}  {role}  since {store.city.clock.day(created)}")


@user.command("remove")
@click.argument("name")
def user_remove(name: str) -> None:
    """Remove a user."""
    from cim.access.accounts import remove_account
    from cim.access.audit import note
    from cim.store.connection import open_store

    with open_store(read_settings()) as store, store.connect() as connection, connection.cursor() as cursor:
        remove_account(cursor, name)
        note(cursor, "user removed", identifier=name)
    click.echo(f"{name} is removed")
