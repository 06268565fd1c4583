"""A server whose device takes a set time for each text, without a pause between two.

`python -m support.steady FLAGS` runs it; `steady` does, in a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.controls import FOLDER_VARIABLE, Controls
from faults.fake_device import FakeDevice
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import ServerConfig, add_flags
from gemwire_server.serving import serve
from uninstalled import ROOT, environment


class SteadyDevice(FakeDevice):
    """Has the next text before the last has ended, so that the hand-over costs no time."""

    depth = 2


def load(checkpoint: Checkpoint, config: ServerConfig) -> SteadyDevice:
    """As `gemwire_server.runners.loading.Loader`."""
    hidden_size = checkpoint.config.hidden_size
    return SteadyDevice(checkpoint.dimensions[0], hidden_size, Controls.from_environment())


@contextmanager
def steady(checkpoint: Path, seconds: float) -> Iterator[str]:
    """The address of such a server, with a text a step."""
    with tempfile.TemporaryDirectory(prefix="gemwire-steady-") as folder:
        controls = Controls(Path(folder))
        controls.set(step_seconds=seconds)
        environ = environment({FOLDER_VARIABLE: folder})
        environ["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tests'}"
        # Any text is longer than this budget, and so computed alone.
        flags = ["--engine", "thread", "--max-batch-tokens", "4", "--log-level", "warning"]
        command = [sys.executable, "-m", "support.steady"]
        process = subprocess.Popen(
            [*command, "--model", str(checkpoint), "--address", "127.0.0.1:0", *flags],
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        try:
            assert process.stdout is not None
            banner = process.stdout.readline()
            assert banner, "the server did not start"
            yield banner.split()[-1]
        finally:
            process.kill()
            process.communicate()
            controls.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_flags(parser)
    config = ServerConfig.load(parser.parse_args(), os.environ)
    sys.exit(serve(config, loader="support.steady:load"))
