"""Readers of city files, checks, and the pipeline that brings them into the store."""
