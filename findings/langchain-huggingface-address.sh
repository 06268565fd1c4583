#!/usr/bin/env bash
# langchain-huggingface: HuggingFaceEndpointEmbeddings takes the address of a Text Embeddings Inference server as
# its `model`; LangChain's page on that server shows it so. From 1.2.2 on the constructor refuses an address: it
# checks that `model` is a name on the hub. 1.2.1 takes the same line and calls the server.
#
# Seen on Python 3.11:
#   langchain-huggingface 1.2.1: made
#   langchain-huggingface 1.2.3: ValidationError
#
# Exit code 0: as described. Needs python3 with pip, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/make.py" <<'PYTHON'
from importlib.metadata import version

from langchain_huggingface import HuggingFaceEndpointEmbeddings

try:
    HuggingFaceEndpointEmbeddings(model="http://127.0.0.1:8080")
    outcome = "made"
except Exception as error:
    outcome = type(error).__name__
print(f"langchain-huggingface {version('langchain-huggingface')}: {outcome}")
PYTHON
seen=""
for version in 1.2.1 1.2.3; do
    python3 -m pip install --quiet --disable-pip-version-check --target "$folder/$version" \
        "langchain-huggingface==$version"
    line=$(PYTHONPATH="$folder/$version" python3 "$folder/make.py")
    echo "$line"
    seen+="${line##*: } "
done
[[ $seen == "made ValidationError " ]]
