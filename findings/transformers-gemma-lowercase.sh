#!/bin/sh
# transformers 5 forgets the normalizer of a Gemma tokenizer when it loads what it saved.
#
# sentence-transformers keeps do_lower_case, from 5.4 on, by putting Lowercase before the normalizer of the
# tokenizer and saving it. tokenizer.json then has it, but transformers 5.23.0 builds a GemmaTokenizer anew
# from vocabulary and merges, with a normalizer of its own: loaded again, the tokenizer reads capitals, gives
# other ids, and the model gives other vectors than the one that was saved. There is no warning.
# transformers 4.57.6 keeps it.
#
# Exit code 0: as described. Needs python3 with venv, and a package index.
set -eu
export TRANSFORMERS_VERBOSITY=error
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/again.py" <<'PYTHON'
import json
import sys

import transformers
from tokenizers import Tokenizer, models
from tokenizers.normalizers import Lowercase, Replace, Sequence

folder = sys.argv[1]
letters = "abcABC▁"
special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
vocab = {token: i for i, token in enumerate([*special, *letters])}
bpe = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
bpe.normalizer = Replace(" ", "▁")
bpe.save(f"{folder}/tokenizer.json")
with open(f"{folder}/tokenizer_config.json", "w") as file:
    names = dict(bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<pad>")
    json.dump({"tokenizer_class": "GemmaTokenizer", **names}, file)

tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
backend = tokenizer.backend_tokenizer
backend.normalizer = Sequence([Lowercase(), backend.normalizer])  # as sentence-transformers does
tokenizer.save_pretrained(f"{folder}/saved")
again = transformers.AutoTokenizer.from_pretrained(f"{folder}/saved")
with open(f"{folder}/saved/tokenizer.json") as file:
    written = "Lowercase" in json.dumps(json.load(file)["normalizer"])
before, after = (t("ABC", add_special_tokens=False)["input_ids"] for t in (tokenizer, again))
print(transformers.__version__, "tokenizer.json has Lowercase:", written, "ids:", before, after)
kept = before == after
raise SystemExit(not written or kept != transformers.__version__.startswith("4."))
PYTHON
for version in 4.57.6 5.23.0; do
    python3 -m venv "$folder/venv-$version"
    "$folder/venv-$version/bin/pip" install --quiet --disable-pip-version-check "transformers==$version"
    mkdir "$folder/$version"
    "$folder/venv-$version/bin/python" "$folder/again.py" "$folder/$version"
done
