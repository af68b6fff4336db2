"""Which version of the software this is."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("cim")
except PackageNotFoundError:  # run from a folder that was never installed
    VERSION = "0"
