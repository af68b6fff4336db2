"""Byte formats of tiles: glTF, points, quantized-mesh, textures. Arrays in, bytes out."""
