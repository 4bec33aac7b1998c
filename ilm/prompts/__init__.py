"""Tasks as prompts: what is asked and answered of items and users, all of it from data, and its rendering to tokens."""
