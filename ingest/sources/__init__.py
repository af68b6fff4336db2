"""Where deliveries come from beside files: feeds, other databases, uploads."""
