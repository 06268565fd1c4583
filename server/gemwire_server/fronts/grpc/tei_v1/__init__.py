"""The API tei.v1 of Text Embeddings Inference: its messages and methods."""
