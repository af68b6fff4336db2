"""The city's model: catalog, geometry, store and analysis, and the notebook client."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim.client import Twin


def connect(url: str | None = None, key: str | None = None) -> "Twin":
    """Return the twin that a server answers for.

    Args:
        url: address of the server; else `CIM_URL`, else http://localhost:8000.
        key: API key; else `CIM_KEY`; none: what is public.

    """
    from cim.client import connect as connect_to  # pandas and Arrow load when a notebook connects

    return connect_to(url, key)
