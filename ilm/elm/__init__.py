"""ELM-24: texts about held-out items, said by an Item-Language Model and compared with a teacher's (docs/elm-24.md)."""
