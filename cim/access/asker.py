"""On whose behalf something is done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Asker:
    """On whose behalf a job runs."""

    account: str | None = None
    role: str | None = None
    address: str | None = None

    @property
    def name(self) -> str:
        """What limits go by: the account, else the address."""
        return self.account or f"@{self.address}"

    @property
    def sees_sensitive(self) -> bool:
        """Whether sensitive fields are shown: who has signed in sees them."""
        return self.account is not None


COMMAND_LINE = Asker()
