"""The gRPC side: requests in, checked and tokenized; vectors out, written as one block."""
