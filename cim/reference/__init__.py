"""Where things are: reference systems, Chinese plane systems, shifted coordinates, heights, grids of values."""
