"""The API gemwire.v1: its messages and methods."""
