"""HTTP beside OGC: who asks, tiles, data, styles, uploads, what the viewer needs."""
