"""Runs the model card's example: starts a server process and ranks four documents with the client.

    python clients/python/demo.py [MODEL]

Without MODEL the server serves gemwire-mini, which comes with it. MODEL is a folder or a hub id.
"""

import subprocess
import sys
import time

from gemwire_client import Client

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
]
SERVE = [sys.executable, "-m", "gemwire_server", "serve", "--address", "127.0.0.1:0"]


def main(model: list[str]) -> int:
    started = time.monotonic()
    flags = ["--model", *model] if model else []
    server = subprocess.Popen(
        [*SERVE, *flags, "--log-level", "error"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        banner = server.stdout.readline()
        if not banner:
            print("the server did not start", file=sys.stderr)
            return 1
        print(f"{banner.strip()} ({time.monotonic() - started:.1f} s)")
        with Client(banner.split()[-1]) as client:
            show(client)
    finally:
        server.terminate()
        server.communicate()
    print(f"the server drained and stopped, exit code {server.returncode}")
    return server.returncode


def show(client: Client) -> None:
    client.embed_query(QUERY)  # the first call pays for the connection
    started = time.monotonic()
    query = client.embed_query(QUERY)
    asked = time.monotonic()
    documents = client.embed_documents(DOCUMENTS)
    done = time.monotonic()
    print(f"query      {query.shape} {query.dtype}, {1e3 * (asked - started):.0f} ms")
    print(f"documents  {documents.shape} {documents.dtype}, {1e3 * (done - asked):.0f} ms")
    print(f"\n{QUERY}")
    for score, document in sorted(zip(documents @ query, DOCUMENTS, strict=True), reverse=True):
        print(f"  {score:.4f}  {document}")
    print()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
