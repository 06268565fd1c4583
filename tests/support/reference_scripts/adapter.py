"""Run with peft: python adapter.py TINY OUT.

Trains nothing, but gives a model a LoRA adapter that changes its vectors. Saves it as OUT/adapter, its
float32 vectors of `TEXTS` as OUT/vectors.npy, and OUT/merged as the server's error says to make it.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

TEXTS = ["Which planet is known as the Red Planet?", "Mars."]


def main(tiny: str, out: Path) -> None:
    torch.manual_seed(0)
    model = SentenceTransformer(tiny, device="cpu", model_kwargs={"dtype": torch.float32})
    model.add_adapter(
        LoraConfig(target_modules=["q_proj", "down_proj"], r=4, init_lora_weights=False)
    )
    model.save_pretrained(str(out / "adapter"))
    np.save(out / "vectors.npy", model.encode(TEXTS))
    (out / "texts.json").write_text(json.dumps(TEXTS))
    merged = str(shutil.copytree(out / "adapter", out / "merged"))
    base = AutoModel.from_pretrained(tiny, dtype="float32")
    PeftModel.from_pretrained(base, merged).merge_and_unload().save_pretrained(merged)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (out / "merged" / name).unlink()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
