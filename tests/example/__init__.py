"""A package as others write one: what the recipes of docs/contributing make, and the tests execute."""
