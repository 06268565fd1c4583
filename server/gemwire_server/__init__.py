"""The gemwire server: checkpoints, tokenizer, engine and the gRPC service around them."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gemwire")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+source"
