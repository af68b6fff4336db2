"""Our errors as HTTP statuses: one table, one answer."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cim import errors

HEADERS = {
    401: {"WWW-Authenticate": 'Basic realm="cim", charset="UTF-8"'},
    503: {"Retry-After": "30"},
}
STATUS: dict[type[errors.CimError], int] = {
    errors.NotFound: 404,
    errors.UnknownLayer: 404,
    errors.BadRequest: 400,
    errors.TooLarge: 413,
    errors.UnknownCrs: 400,
    errors.NoOperation: 422,
    errors.UnknownVerticalDatum: 422,
    errors.NothingToLoad: 422,
    errors.UnreadableFile: 422,
    errors.UndecidableEncoding: 422,
    errors.WrongCity: 422,
    errors.UnknownKey: 401,
    errors.NotAllowed: 403,
    errors.TooManyJobs: 429,
    errors.TooManyDownloads: 503,
    errors.CannotUndo: 409,
    errors.LayerBusy: 503,
    errors.NoDatabase: 503,
}


def status_of(error: errors.CimError) -> int:
    """Return the status of an error: its own, or its nearest ancestor's, else 500."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def lost_connection(request: Request, _: Exception) -> Response:
    """Answer that the database is away for the moment."""
    return answer(request, errors.NoDatabase("the database doesn't answer; try again in a moment"))


def unusable_value(request: Request, fault: Exception) -> Response:
    """Answer that PostgreSQL can't take a value as it was given: a number beyond its type, a division by zero."""
    reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
    return answer(request, errors.BadRequest(f"a value can't be used as it was given: {reason}"))


def answer(_: Request, error: Exception) -> Response:
    """Answer an error of ours in the form of RFC 9457."""
    status = status_of(error) if isinstance(error, errors.CimError) else 500
    body = {"type": type(error).__name__, "title": str(error), "status": status}
    headers = HEADERS.get(status)
    return JSONResponse(body, status, headers, media_type="application/problem+json")
