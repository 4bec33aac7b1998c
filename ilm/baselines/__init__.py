"""The systems that any model has to beat: popularity, matrix factorisation, neighbours, a transformer over items."""
