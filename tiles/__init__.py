"""The tile law: from dated features to an explicit tree of tiles named by their content."""
