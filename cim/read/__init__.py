"""Reading the twin: layers, filters, whole frames as Arrow, series, terrain, differences."""
