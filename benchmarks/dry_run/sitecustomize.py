"""Python imports this at its start where this folder is on PYTHONPATH: only in a dry run of `make gpu`."""

from dry_run.hooks import install

install()
