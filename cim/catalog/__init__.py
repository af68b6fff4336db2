"""The catalog: layers, fields, code lists and classes as data, and the typed model that reads them."""
