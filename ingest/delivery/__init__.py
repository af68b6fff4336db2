"""What a delivery says of itself, how it is packed, and the report of what became of it."""
