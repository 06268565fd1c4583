#!/usr/bin/env bash
# llama-index-embeddings-text-embeddings-inference: the client never looks at the HTTP status of an answer. A
# server that refuses a request, here with 429 and the body that Text Embeddings Inference sends when it is
# overloaded, makes the client raise KeyError: 0. An application cannot tell an overload, which it should try
# again, from a text that is too long or from a bug of its own. A refusal without a body, as for a wrong
# token, is a JSONDecodeError. The package's own type for errors, or httpx's HTTPStatusError, is expected.
#
# Seen with llama-index-embeddings-text-embeddings-inference 0.6.0 on Python 3.11:
#   429 with a body: KeyError(0)
#   401 without a body: JSONDecodeError
#
# Exit code 0: as described. Needs python3 with pip, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" \
    llama-index-embeddings-text-embeddings-inference==0.6.0
PYTHONPATH="$folder" python3 - <<'PYTHON'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

OVERLOADED = json.dumps({"error": "Model is overloaded", "error_type": "Overloaded"}).encode()
ANSWERS = [(429, OVERLOADED), (401, b"")]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        status, body = answers.pop(0)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


package = "llama-index-embeddings-text-embeddings-inference"
print(package, version(package), "on Python", sys.version.split()[0])
answers = list(ANSWERS)
server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = TextEmbeddingsInference(
    model_name="model", base_url=f"http://127.0.0.1:{server.server_port}"
)
seen = []
for status, body in ANSWERS:
    try:
        client.get_text_embedding("Mars is red.")
    except Exception as error:
        shown = repr(error) if isinstance(error, KeyError) else type(error).__name__
        print(f"{status} {'with' if body else 'without'} a body: {shown}")
        seen.append(shown)
server.shutdown()
sys.exit(0 if seen == ["KeyError(0)", "JSONDecodeError"] else 1)
PYTHON
