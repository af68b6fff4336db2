"""Buildings and what they hold."""
