"""Who asks, when, in which language, from which address: one frozen value through every door."""

import base64
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.requests import Request

from cim.access.accounts import Account, Role
from cim.access.asker import Asker
from cim.city import City
from cim.clock import Clock
from cim.errors import BadRequest, NotAllowed, UnknownKey
from cim.messages import say


@dataclass(frozen=True)
class Ask:
    """One request, as the layers below see it."""

    base_url: str  # scheme, host and prefix as the asker spells them, without a closing slash
    language: str = "en"  # zh or en
    at: datetime | None = None  # city time; None: now
    recorded_at: datetime | None = None
    account: Account | None = None  # who has signed in
    address: str | None = None  # the asker's
    query: str = ""  # the query string as it came

    @property
    def public_only(self) -> bool:
        """Whether sensitive fields stay hidden: nobody has signed in."""
        return not self.asker.sees_sensitive

    @property
    def asker(self) -> Asker:
        """On whose behalf jobs run that this request starts."""
        return Asker(
            self.account.name if self.account else None, self.account.role if self.account else None, self.address
        )

    def require(self, role: Role) -> Account:
        """Return who asks.

        Raises:
            UnknownKey: nobody has signed in.
            NotAllowed: the role isn't enough.

        """
        if self.account is None:
            raise UnknownKey(say("needs-key-role", role=role))
        if not self.account.may(role):
            raise NotAllowed(say("role-not-enough", account=self.account.name, role=self.account.role, needed=role))
        return self.account


ASK: ContextVar[Ask] = ContextVar("ask")


def read_ask(request: Request) -> Ask:
    """Read a request's headers and parameters.

    Raises:
        BadRequest: `at` isn't a date or a time, or the address holds the character 0, which no text here can.

    """
    if "\0" in request.url.path or "\0" in unquote(request.url.query):
        raise BadRequest(say("address-holds-character-0"))
    return Ask(
        base_url=base_url(request),
        language=language(request),
        at=moment(request.query_params["at"], _clock(request)) if "at" in request.query_params else None,
        query=request.url.query,
        address=request.client.host if request.client else None,
    )


def read_key(headers: Headers) -> tuple[str | None, str] | None:
    """Return a request's user name (where it gives one) and key: X-API-Key, Bearer, or Basic with it as password.

    Raises:
        UnknownKey: the Authorization header can't be read.

    """
    if key := headers.get("x-api-key"):
        return None, key
    scheme, _, content = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return None, content.strip()
    if scheme.lower() != "basic":
        return None
    try:
        name, _, key = base64.b64decode(content, validate=True).decode("utf-8").partition(":")
    except (ValueError, UnicodeDecodeError) as fault:
        raise UnknownKey(say("authorization-header-cannot-read")) from fault
    return name or None, key


def base_url(request: Request) -> str:
    """Return the public address: Host, or what a reverse proxy says of it (X-Forwarded-Proto, -Host, -Prefix)."""
    headers = request.headers
    scheme = _first(headers.get("x-forwarded-proto")) or request.url.scheme
    host = _first(headers.get("x-forwarded-host")) or headers.get("host") or request.url.netloc
    prefix = (_first(headers.get("x-forwarded-prefix")) or request.scope.get("root_path", "")).strip("/")
    return f"{scheme}://{host}{f'/{prefix}' if prefix else ''}"


def language(request: Request) -> str:
    """Return zh or en: the parameter `lang`, else the first of Accept-Language that is one of them."""
    asked = request.query_params.get("lang") or request.headers.get("accept-language", "")
    for part in asked.lower().split(","):
        tag = part.split(";")[0].strip()[:2]
        if tag in ("zh", "en"):
            return tag
    return "en"


def _clock(request: Request) -> Clock:
    city: City = request.app.state.context.store.city
    return city.clock


def moment(text: str | None, clock: Clock) -> datetime | None:
    """Read a date (its first moment) or a time, both by the city's clock where no offset stands with them."""
    if not text:
        return None
    try:
        return clock.read(text.replace(" ", "+"))
    except ValueError as fault:
        raise BadRequest(say("not-date-time-such-2023", text=text)) from fault


def _first(header: str | None) -> str:
    return header.split(",")[0].strip() if header else ""
