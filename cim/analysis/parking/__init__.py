"""Car parks."""
