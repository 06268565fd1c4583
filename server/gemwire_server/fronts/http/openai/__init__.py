"""OpenAI's embeddings and models, with fields and names of models that choose a prompt."""
