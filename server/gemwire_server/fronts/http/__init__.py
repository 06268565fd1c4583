"""The HTTP front: the APIs that clients of other embedding servers speak."""
