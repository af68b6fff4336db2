"""Parameters of analyses: typed models, from which command line, OGC process and form derive."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def titled(zh: str, en: str, unit: str | None = None, choices: str | None = None, **options: Any) -> Any:
    """Return a field with titles in both languages.

    Args:
        zh: title in Chinese.
        en: title in English.
        unit: UCUM.
        choices: where a form finds what may be chosen: `layers`, `areas` (polygon layers and H3), `fields`, `place`.
        options: pydantic's own.

    """
    extra: dict[str, Any] = {key: value for key, value in (("zh", zh), ("unit", unit), ("choices", choices)) if value}
    return Field(title=en, json_schema_extra=extra, **options)


class Parameters(BaseModel):
    """What every analysis may be asked with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime | None = titled("时刻", "Moment", default=None, description="city time; none: now")
