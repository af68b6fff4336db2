"""Parameters of analyses: typed models, from which command line, OGC process and form derive."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cim.catalog.row import Text


def titled(
    zh: str,
    en: str,
    unit: str | None = None,
    choices: str | None = None,
    also: tuple[tuple[str, Text, str | None], ...] = (),
    **options: Any,
) -> Any:
    """Return a field with titles in both languages.

    Args:
        zh: title in Chinese.
        en: title in English.
        unit: UCUM.
        choices: where a form finds what may be chosen: `layers`, `areas` (polygon layers and H3), `fields` (those of
            the chosen layer that may be summed), `place`.
        also: what may be chosen beside: the value, its title, and the role of the layers that have it (None: all).
        options: pydantic's own.

    """
    extra: dict[str, Any] = {key: value for key, value in (("zh", zh), ("unit", unit), ("choices", choices)) if value}
    if also:
        extra["also"] = [{"value": value, "title": title.model_dump(), "role": role} for value, title, role in also]
    return Field(title=en, json_schema_extra=extra, **options)


class Parameters(BaseModel):
    """What every analysis may be asked with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    at: datetime | None = titled(
        "时刻", "Moment", default=None, description="city time, by the city's clock where it has no offset; none: now"
    )
    recorded_at: datetime | None = titled(
        "入库时刻", "As known at", default=None, description="what the database held then; none: now"
    )
