"""From points to city: ground, surface rasters, building heights, roofs. Arrays in and out, in a metric CRS."""
