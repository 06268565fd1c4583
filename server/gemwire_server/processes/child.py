"""The supervisor's children: `python -m gemwire_server.processes.child engine|front DESCRIPTOR`."""

import sys


def main() -> int:
    # Each kind imports only what it needs: a front no PyTorch, an engine no gRPC.
    if sys.argv[1] == "engine":
        from gemwire_server.processes.engine_process import run_engine as run
    else:
        from gemwire_server.processes.front_process import run_front as run
    return run(int(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(main())
