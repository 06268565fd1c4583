"""The command line: one file a command."""


def main() -> int:
    raise SystemExit("not built yet")
