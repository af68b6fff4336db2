"""Our feature provider for pygeoapi: PostGIS writes the features, keyset paging gives each object once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from pygeoapi.provider.base import (
    BaseProvider,
    ProviderInvalidQueryError,
    ProviderItemNotFoundError,
)

from cim.clock import Clock
from cim.errors import BadRequest
from cim.read import layers as reads
from cim.read.filters import Condition, parse_filter
from services.http.ask import ASK, moment
from services.http.context import CONTEXT
from services.ogc.pygeoapi_overrides import MATCHED, OUR_NEXT, WantedCrs, WrittenFeatures

JSON_TYPES = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
Interval = tuple[datetime | None, datetime | None]


class FeatureProvider(BaseProvider):  # type: ignore[misc] # pygeoapi has no types
    """A layer of the twin as a collection."""

    def __init__(self, provider_def: dict[str, Any]) -> None:
        super().__init__(provider_def)
        self._context = CONTEXT.get()
        self._layer = self._context.layer(self.data)
        self.get_fields()

    def get_fields(self) -> dict[str, Any]:
        """Return the JSON schema of each field, with titles in the asker's language and the code list's values."""
        language = ASK.get().language
        catalog = self._context.store.catalog
        for field in self._layer.all_fields:
            codes = catalog.codes(field)
            described: dict[str, Any] = {
                "title": field.title.to(language),
                "type": JSON_TYPES.get(field.type, "string"),
            }
            if field.type in ("date", "timestamp"):
                described["format"] = "date" if field.type == "date" else "date-time"
            if field.unit:
                described["x-ogc-unit"] = field.unit
            if codes:
                described["oneOf"] = [{"const": c.value, "title": c.title.to(language)} for c in codes.codes]
            self._fields[field.name] = described
        return dict(self._fields)

    def query(
        self,
        offset: int = 0,
        limit: int = 100,
        resulttype: str = "results",
        bbox: Condition | None = None,
        datetime_: str | None = None,
        properties: Sequence[tuple[str, str]] = (),
        sortby: Sequence[dict[str, str]] = (),
        select_properties: Sequence[str] = (),
        skip_geometry: bool = False,
        crs_transform_spec: WantedCrs | None = None,
        **other: Any,
    ) -> dict[str, Any]:
        """Answer a page; `cursor` in the query string continues after an id, as things were known at the first page."""
        if other.get("q"):
            raise ProviderInvalidQueryError(user_msg="q isn't served: use property=value, or a filter in CQL2")
        known_at, after = _cursor()
        query = reads.Query(
            at=_times(datetime_, self._context.store.city.clock) if datetime_ else ASK.get().at,
            recorded_at=known_at,
            equals=dict(properties),
            where=self._filter() & bbox if bbox else self._filter(),
            after=after,
            offset=offset,
            limit=limit,
            sort=[(s["property"], s["order"] == "-") for s in sortby],
            properties=select_properties,
            geometry=not skip_geometry,
            public_only=ASK.get().public_only,
            out_srid=crs_transform_spec.srid if crs_transform_spec else 4326,
            flip=bool(crs_transform_spec and crs_transform_spec.north_first),
        )
        srid = self._context.store.city.srid
        with self._context.cursor() as cursor:
            answer: dict[str, Any] = {"type": "FeatureCollection"}
            if self._context.counts(cursor, self._layer):
                answer[MATCHED] = reads.count(cursor, self._layer, query)
            if resulttype == "hits":
                return answer | {"numberReturned": 0, "features": [], "links": []}
            page = reads.features(cursor, self._layer, srid, query)
        answer |= {"features": WrittenFeatures(page.text, page.count), "numberReturned": page.count}
        answer["links"] = self._links(page, query, known_at)
        return answer

    def _filter(self) -> Condition:
        """Return the condition of the parameter `filter`; pygeoapi's own parsing of it isn't used."""
        parameters = dict(parse_qsl(ASK.get().query))
        if not parameters.get("filter"):
            return Condition()
        context = self._context
        try:
            return parse_filter(parameters["filter"], self._layer, context.from_wgs84, context.store.city)
        except BadRequest as fault:
            raise ProviderInvalidQueryError(user_msg=str(fault)) from fault

    def get(self, identifier: str, crs_transform_spec: WantedCrs | None = None, **_: Any) -> dict[str, Any]:
        """Answer one object, as it was at `datetime` where that is asked."""
        parameters = dict(parse_qsl(ASK.get().query))
        asked = parameters.get("datetime")
        query = reads.Query(
            at=_times(asked, self._context.store.city.clock) if asked else ASK.get().at,
            equals={"id": identifier},
            limit=1,
            public_only=ASK.get().public_only,
            out_srid=crs_transform_spec.srid if crs_transform_spec else 4326,
            flip=bool(crs_transform_spec and crs_transform_spec.north_first),
        )
        with self._context.cursor() as cursor:
            page = reads.features(cursor, self._layer, self._context.store.city.srid, query)
        if not page.count:
            raise ProviderItemNotFoundError(user_msg=f"no {self._layer.id} {identifier}")
        feature: dict[str, Any] = WrittenFeatures(page.text, 1)[0]
        return feature

    def _links(self, page: reads.Page, query: reads.Query, known_at: datetime | None) -> list[dict[str, str]]:
        """Link the next page: after the last id, or by offset where the page is sorted otherwise."""
        if not page.more:
            return []
        ask = ASK.get()
        parameters = [(k, v) for k, v in parse_qsl(ask.query, keep_blank_values=True) if k not in ("cursor", "offset")]
        if query.sort or query.offset:
            parameters.append(("offset", str(query.offset + query.limit)))
        else:
            parameters.append(("cursor", f"{(known_at or datetime.now(UTC)).isoformat()}~{page.last_id}"))
        href = f"{ask.base_url}/ogc/collections/{self._layer.id}/items?{urlencode(parameters)}"
        return [{"rel": "next", "type": "application/geo+json", "title": OUR_NEXT, "href": href}]


def _cursor() -> tuple[datetime | None, str | None]:
    token = dict(parse_qsl(ASK.get().query)).get("cursor")
    if not token:
        return None, None
    known_at, _, after = token.partition("~")
    try:
        return datetime.fromisoformat(known_at), after
    except ValueError as fault:
        raise ProviderInvalidQueryError(user_msg=f"cursor {token!r} isn't one that a next link gave") from fault


def _times(text: str, clock: Clock) -> datetime | Interval | None:
    """Read an instant or an interval of OGC API - Features."""
    try:
        times = [None if part in ("", "..") else moment(part, clock) for part in text.split("/", 1)]
    except BadRequest as fault:
        raise ProviderInvalidQueryError(user_msg=f"datetime {text!r} isn't an instant or an interval") from fault
    if len(times) == 1:
        return times[0]
    start, end = times
    if start and end and start > end:
        raise ProviderInvalidQueryError(user_msg=f"datetime {text!r} ends before it starts")
    return start, end
