"""Speed as a ratio to the floor: each module compares one thing with what it could cost at best or does elsewhere."""
