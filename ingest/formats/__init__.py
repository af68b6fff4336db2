"""Readers of files: a family of formats a folder."""
