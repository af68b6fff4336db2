"""Models and photogrammetry: triangles, OSGB, sets of 3D Tiles."""
