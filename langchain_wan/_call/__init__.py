"""The life of one paid call: claimed, sent once, saved before it is parsed, delivered."""
