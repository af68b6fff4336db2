"""Benches: a layer with its role and style, a reader of their file, an analysis, and a tool of the viewer."""
