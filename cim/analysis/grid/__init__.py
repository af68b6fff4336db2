"""Grid cells and districts."""
