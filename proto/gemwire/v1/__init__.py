"""Version 1 of the API: `embedding_pb2` (messages) and `embedding_pb2_grpc` (stubs), both generated."""
