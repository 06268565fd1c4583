"""Starts all servers, runs a command beside them, and stops them.

    python -m gemwire_conformance COMMAND...

The command finds in the variable CONFORMANCE the path of a JSON file with the servers' addresses: see the
README of this folder. The exit code is the command's.
"""

import asyncio
import json
import os
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
async def serving(folder: Path) -> AsyncIterator[Path]:
    """All servers; the path of the file that names them."""
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
        yield file


async def main(command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="gemwire-conformance-") as folder:
        async with serving(Path(folder)) as file:
            environment = os.environ | {"CONFORMANCE": str(file)}
            process = await asyncio.create_subprocess_exec(*command, env=environment)
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1:])))
