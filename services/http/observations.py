"""`/observations`: series of a feature over time, by period."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cim.errors import NotFound
from cim.messages import say
from cim.read.series import series
from services.http import context
from services.http.ask import moment


def feature_series(request: Request) -> Response:
    """Answer the values of a feature: `from`, `until`, `period` (raw, N min, hour, day, week, month)."""
    state = context.of(request)
    layer = state.layer(request.path_params["layer"])
    if layer.observes is None:
        raise NotFound(say("holds-no-values-over-time", layer=layer.id))
    asked = request.query_params
    clock = state.store.city.clock
    span = (moment(asked.get("from"), clock), moment(asked.get("until"), clock))
    with state.cursor() as cursor:
        value_series = series(
            cursor,
            layer,
            request.path_params["feature"],
            span,
            period=asked.get("period", "raw"),
            clock=clock,
        )
    return JSONResponse(value_series.as_json(), headers={"Cache-Control": "no-cache"})


ROUTES = [Route("/observations/{layer}/{feature:path}", feature_series)]
