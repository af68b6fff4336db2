"""Styles of layers, one file a layer, shared by the viewer, QGIS and MapLibre."""
