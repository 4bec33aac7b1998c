"""A trained model in use: the bundle that is registered, and the recommender that answers from it."""
