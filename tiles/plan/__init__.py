"""The tree: a tile's address comes from where it is, its name from what is in it."""
