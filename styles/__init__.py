"""Styles as clients want them: QML, a QGIS project, MapLibre, 3D Tiles. How a layer looks stands in the catalog."""
