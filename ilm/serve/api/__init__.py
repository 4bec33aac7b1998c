"""A trained model behind HTTP. Knows no registry: which models it serves is told to it (`served.Served`)."""
