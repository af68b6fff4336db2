"""The dated store: connections, schema, merge, assets, what changed; the one place that opens connections."""
