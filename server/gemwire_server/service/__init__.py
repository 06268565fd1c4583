"""The one way in: from a request in plain values to vectors, whatever protocol brought the request."""
