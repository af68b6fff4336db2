"""Files served as they are: the built viewer and the assets of the API pages."""
