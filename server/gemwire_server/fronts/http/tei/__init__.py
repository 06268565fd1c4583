"""The API of Text Embeddings Inference over HTTP."""
