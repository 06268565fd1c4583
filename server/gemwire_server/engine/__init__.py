"""The engine: which texts are computed next, and the threads that compute them."""
