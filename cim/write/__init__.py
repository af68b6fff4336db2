"""The twin as files."""
