"""HTML pages of the OGC APIs."""
