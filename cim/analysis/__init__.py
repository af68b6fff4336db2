"""Analyses: plain typed functions over arrays; none opens a connection."""
