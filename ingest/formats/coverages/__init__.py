"""Files that are kept whole: rasters and point clouds."""
