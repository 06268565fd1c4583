"""The model card's example, the whole way: a server process, the client, four documents ranked.

    python clients/python/demo.py CHECKPOINT

Makes the checkpoint first if the folder is not there: EmbeddingGemma's geometry with random weights,
whose vectors mean nothing. With real weights, Mars comes first.
"""

import subprocess
import sys
import time
from pathlib import Path

from gemwire_client import Client

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
]
GEMWIRE = [sys.executable, "-m", "gemwire_server"]


def main(checkpoint: Path) -> int:
    if not checkpoint.exists():
        print(
            f"making {checkpoint}: EmbeddingGemma's geometry, random weights (once, 0.6 GB)",
            flush=True,
        )
        make = [*GEMWIRE, "make-checkpoint", "--geometry", "embeddinggemma-300m", "--seed", "0"]
        subprocess.run([*make, str(checkpoint)], check=True)
    started = time.monotonic()
    serve = [*GEMWIRE, "serve", "--model", str(checkpoint), "--address", "127.0.0.1:0"]
    server = subprocess.Popen([*serve, "--log-level", "warning"], stdout=subprocess.PIPE, text=True)
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
    print("similarity", " ".join(f"{score:.4f}" for score in documents @ query))
    print("The weights are random: shapes and times are real, the ranking means nothing.")
    print("With EmbeddingGemma's weights the row is 0.3011 0.6359 0.4930 0.4889: Mars first.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
