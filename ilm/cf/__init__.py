"""Matrix factorisation of the interaction logs: a vector per item and per user, and vectors for new users."""
