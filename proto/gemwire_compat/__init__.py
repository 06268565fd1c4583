"""Contracts of other servers that gemwire speaks too: each .proto here is compatible on the wire.

They lie in a package of their own, and not in `tei` or `vllm`, which other distributions have.
"""
