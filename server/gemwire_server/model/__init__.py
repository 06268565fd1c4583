"""The encoder: its configuration, its weights and its equations; the first needs no PyTorch."""
