"""Every error a user can meet: a noun, that says what is wrong, where, and what to do.

Each class carries the exit code of the command line, and the setting that gives what is missing, where one does: a
message names what is missing, and each door says how it is given there. `services.http.errors` maps the same classes
to HTTP statuses.
A bad *record* is never an exception: it is set aside with its reason and counted.
"""


class CimError(Exception):
    """The root: nothing was done, and the message says why and what helps."""

    exit_code = 1
    setting: str | None = None  # of `ingest.delivery.declared.Declared`

    @property
    def message(self) -> str:
        """What it says, as it was given: a message knows itself in every language (`cim.messages`)."""
        return self.args[0] if self.args and isinstance(self.args[0], str) else str(self)


class MissingProgram(CimError):
    """A program or package of the system that has to be installed first."""


class NoDatabase(CimError):
    """The database can't be reached, or isn't initialised."""


class BadSettings(CimError):
    """A setting, city file or dataset.toml that can't be used as it stands."""


class BadCatalog(CimError):
    """A catalog file whose rows contradict each other or the schema of the catalog."""


class UnknownLayer(CimError):
    """A layer id that the catalog doesn't have, or a file whose layer nothing tells."""

    setting = "layer"


class UnreadableFile(CimError):
    """A file that is empty, truncated, or not what its suffix says."""


class UnknownCrs(CimError):
    """No CRS is declared, or none that can be used."""

    setting = "crs"


class UnknownVerticalDatum(CimError):
    """Heights whose vertical datum nothing tells."""

    setting = "vertical_datum"


class UnknownAnchor(CimError):
    """A model of which nothing tells where its origin stands."""

    setting = "anchor"


class NoOperation(CimError):
    """Two reference systems between which no installed, accurate operation leads."""


class WrongCity(CimError):
    """Data that would land far outside the city."""

    setting = "crs"


class UndecidableEncoding(CimError):
    """Text whose encoding nothing tells and no rule decides."""

    setting = "encoding"


class NothingToLoad(CimError):
    """No file, or no record, of those given could be loaded."""


class UnknownLoad(CimError):
    """A load number that isn't in the store, or was taken back before."""


class BadTileset(CimError):
    """A tile store that breaks one of the rules it is built by."""


class NotFound(CimError):
    """A thing asked for by name that isn't there."""


class ServerFault(CimError):
    """A server that doesn't answer, or answers that it can't."""


class UnknownKey(CimError):
    """A key that belongs to nobody, or a name that isn't its owner's."""


class NotAllowed(CimError):
    """Something for which the asker's role isn't enough."""


class BadBackup(CimError):
    """A file that is no backup, a state that holds a twin already, or a dump that didn't work."""


class CannotListen(CimError):
    """An address that the server can't listen on."""


class CannotUndo(CimError):
    """A load that isn't there, was taken back before, or has others built on it."""


class LayerBusy(CimError):
    """A layer that another load is writing into."""


class FailedJob(CimError):
    """A job that a fault of the program ended, or whose worker process ended."""


class TooManyJobs(CimError):
    """More open jobs than one asker may have."""


class TooManyDownloads(CimError):
    """More downloads than are made at a time, or than their files have room for."""


class BadRequest(CimError):
    """A request whose parameters can't be read."""

    exit_code = 2


class TooLarge(BadRequest):
    """A request that asks for, or brings, more than one may."""
