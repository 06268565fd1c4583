"""The gRPC front: the server, its handlers, health and reflection."""
