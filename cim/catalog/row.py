"""What all rows of the catalog are: immutable, checked when they are read, titled in two languages."""

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    """A row of the catalog: immutable, and a key that isn't known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Row):
    """A text in the two languages of the planner."""

    zh: str
    en: str

    def to(self, language: str) -> str:
        """Return the text in `language`; English stands in for any other than Chinese."""
        return self.zh if language.startswith("zh") else self.en
