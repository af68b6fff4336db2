"""The city's model: catalog, geometry, store and analysis, and the notebook client."""
