"""The synthetic city, written as ordinary input files."""
