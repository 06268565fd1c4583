"""The recipe of gemwire-mini: one command from packages to its checkpoint. Not part of the wheel."""
