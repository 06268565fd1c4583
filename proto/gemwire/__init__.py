"""The gemwire API as protocol buffers; messages and stubs of each version are in a package of its own."""
