"""Starts all servers, runs a command beside them, and stops them.

    python -m gemwire_conformance [--every-case] COMMAND...

The command finds in the variable CONFORMANCE the path of a JSON file with the servers' addresses: see the
README of this folder. The exit code is the command's; with --every-case it is 1 if the command succeeded
and a case with a script was not played. SIGTERM ends the command and the servers.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gemwire_conformance import cases
from gemwire_conformance.mute import Mute
from gemwire_conformance.real import Real
from gemwire_conformance.references import answers
from gemwire_conformance.scripted import Scripted
from gemwire_conformance.web import Web


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Path, Scripted]]:
    """All servers: the path of the file that names them, and the one that plays the scripts."""
    known = cases.load()
    scripted, mute, real, web = Scripted(known), Mute(), Real(folder), Web(folder)
    async with AsyncExitStack() as stack:
        for servers in (scripted, mute, real):
            stack.push_async_callback(servers.stop)
            await servers.start()
        stack.push_async_callback(web.stop)
        await web.start(real.servers["plain"]["address"])
        named = {name: {"address": address} for name, address in mute.addresses.items()}
        file = folder / "conformance.json"
        named |= {cases.SCRIPTED: {"address": scripted.address}} | real.servers | web.servers
        content = {
            "servers": named,
            "reference": await answers(real.servers["plain"]["address"], known),
            "cases": str(cases.FOLDER),
        }
        file.write_text(json.dumps(content))
        yield file, scripted


async def main(command: list[str], *, every_case: bool) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="gemwire-conformance-") as folder:
        async with serving(Path(folder)) as (file, scripted):
            code = await run(command, os.environ | {"CONFORMANCE": str(file)})
            if code == 0 and every_case and (missed := scripted.not_played()):
                print(f"{len(missed)} cases were not played: {', '.join(missed)}", file=sys.stderr)
                return 1
            return code


async def run(command: list[str], environment: dict[str, str]) -> int:
    """The exit code of the command, which is terminated if this is cancelled."""
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


if __name__ == "__main__":
    asked = sys.argv[1:]
    every_case = asked[:1] == ["--every-case"]
    command = asked[every_case:]
    if not command:
        sys.exit(__doc__)
    try:
        sys.exit(asyncio.run(main(command, every_case=every_case)))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
