"""Model families: each is a configuration, a plan of its weights and an encoder."""
