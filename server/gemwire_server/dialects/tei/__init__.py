"""Text Embeddings Inference: its requests, the order of its checks, its answers and its words."""
