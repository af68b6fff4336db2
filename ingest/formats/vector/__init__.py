"""Vector files and tables: GDAL, delimited text, OpenStreetMap."""
