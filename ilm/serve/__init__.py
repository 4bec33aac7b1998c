"""A trained model in use: the folder that it is handed on in, and `ItemLanguageModel`, which answers from it."""
