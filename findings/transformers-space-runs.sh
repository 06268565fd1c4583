#!/bin/sh
# transformers 5 divides 32 spaces and more otherwise than SentencePiece where there is only a tokenizer.model.
#
# Gemma's vocabulary has a piece for every run of 2 to 31 spaces. SentencePiece takes the longest first: of 40
# spaces it makes 31 and 9. transformers 4.57.6, converting the same tokenizer.model, orders the merges so that
# its BPE does the same. transformers 5.23.0 orders them by id, shortest first, so that its BPE doubles runs and
# makes 16 and 24: code or tables with wide white space get other ids than the model was trained on, and the
# tokenizer.json that it saves keeps them. Up to 31 spaces all three agree.
#
# Exit code 0: as described. Needs python3 with venv, and a package index.
set -eu
export TRANSFORMERS_VERBOSITY=error
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/runs.py" <<'PYTHON'
import json
import sys

import sentencepiece
import transformers

folder = sys.argv[1]
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["the path to the other teeth", "a hat that he has"] * 20),
    model_prefix=f"{folder}/tokenizer", model_type="bpe", vocab_size=330, hard_vocab_limit=False,
    pad_id=0, eos_id=1, bos_id=2, unk_id=3,
    pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
    control_symbols=["<mask>"], user_defined_symbols=["▁" * n for n in range(2, 32)],
    byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False,
    normalization_rule_name="identity", minloglevel=2,
)  # fmt: skip
with open(f"{folder}/config.json", "w") as file:
    json.dump({"model_type": "gemma3_text"}, file)
with open(f"{folder}/tokenizer_config.json", "w") as file:
    json.dump({"tokenizer_class": "GemmaTokenizer", "add_bos_token": False}, file)
pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/tokenizer.model")
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
differ = []
for count in range(1, 65):
    expected = pieces.encode(" " * count)
    found = tokenizer(" " * count, add_special_tokens=False)["input_ids"]
    if found != expected:
        differ.append(count)
    if count == 40:
        lengths = [[len(pieces.id_to_piece(i)) for i in ids] for ids in (expected, found)]
        print(transformers.__version__, "40 spaces: SentencePiece", lengths[0], "transformers", lengths[1])
print(transformers.__version__, "runs of 1 to 64 spaces that differ:", differ)
four = transformers.__version__.startswith("4.")
raise SystemExit(bool(differ) == four or any(count < 32 for count in differ))
PYTHON
for version in 4.57.6 5.23.0; do
    python3 -m venv "$folder/venv-$version"
    "$folder/venv-$version/bin/pip" install --quiet --disable-pip-version-check \
        "transformers==$version" sentencepiece==0.2.3 protobuf
    mkdir "$folder/$version"
    "$folder/venv-$version/bin/python" "$folder/runs.py" "$folder/$version"
done
