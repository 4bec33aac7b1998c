"""The page of `ilm serve`: a conversation on one side, the items that answer it on the other. NiceGUI draws it."""
