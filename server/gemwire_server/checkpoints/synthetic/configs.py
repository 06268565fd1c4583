"""The JSON files of a synthetic checkpoint but the tokenizer's, key by key as published."""

import json
from pathlib import Path
from typing import Any

from gemwire_server.checkpoints.synthetic.geometry import Geometry

SEARCH, DOCUMENT = "task: search result | query: ", "title: none | text: "
CLASSIFICATION = "task: classification | query: "
SIMILARITY = "task: sentence similarity | query: "
PROMPTS = {
    "query": SEARCH,
    "document": DOCUMENT,
    "BitextMining": SEARCH,
    "Clustering": "task: clustering | query: ",
    "Classification": CLASSIFICATION,
    "InstructionRetrieval": "task: code retrieval | query: ",
    "MultilabelClassification": CLASSIFICATION,
    "PairClassification": SIMILARITY,
    "Reranking": SEARCH,
    "Retrieval": SEARCH,
    "Retrieval-query": SEARCH,
    "Retrieval-document": DOCUMENT,
    "STS": SIMILARITY,
    "Summarization": "task: summarization | query: ",
}


def write_configs(directory: Path, sizes: Geometry, dtype: str) -> None:
    """Writes every JSON file of the layout but the tokenizer's, and the modules' folders."""
    config: dict[str, Any] = {
        "_sliding_window_pattern": 6,
        "architectures": ["Gemma3TextModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "dtype": dtype,
        "eos_token_id": 1,
        "final_logit_softcapping": None,
        "head_dim": sizes.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": sizes.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": sizes.intermediate_size,
        "layer_types": sizes.layer_types,
        "max_position_embeddings": 2048,
        "model_type": "gemma3_text",
        "num_attention_heads": sizes.num_attention_heads,
        "num_hidden_layers": sizes.num_hidden_layers,
        "num_key_value_heads": sizes.num_key_value_heads,
        "pad_token_id": 0,
        "query_pre_attn_scalar": sizes.query_pre_attn_scalar,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "transformers_version": "4.57.0.dev0",
        "use_bidirectional_attention": True,
        "use_cache": True,
        "vocab_size": sizes.vocab_size,
    }
    if sizes.matryoshka_dimensions:
        config["matryoshka_dimensions"] = sizes.matryoshka_dimensions
    write_json(directory / "config.json", config)
    folders = ["", "1_Pooling", "2_Dense", "3_Dense", "4_Normalize"]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": path,
            "type": f"sentence_transformers.models.{path[2:] or 'Transformer'}",
        }
        for i, path in enumerate(folders)
    ]
    write_json(directory / "modules.json", modules)
    for path in folders:
        (directory / path).mkdir(exist_ok=True)
    modes = (
        "cls_token",
        "mean_tokens",
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
    )
    flags = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in (*modes, "lasttoken")}
    pooling = {"word_embedding_dimension": sizes.hidden_size, **flags, "include_prompt": True}
    write_json(directory / "1_Pooling" / "config.json", pooling)
    widths = (sizes.hidden_size, sizes.dense, sizes.embedding_size)
    for folder, into, out in zip(folders[2:4], widths, widths[1:], strict=False):
        dense = {
            "in_features": into,
            "out_features": out,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
        write_json(directory / folder / "config.json", dense)
    sentence_transformers = {
        "model_type": "SentenceTransformer",
        "__version__": {"sentence_transformers": "5.1.0", "transformers": "4.57.0.dev0"},
        "prompts": PROMPTS,
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    write_json(directory / "config_sentence_transformers.json", sentence_transformers)
    bert = {"max_seq_length": 2048, "do_lower_case": sizes.lower_case}
    write_json(directory / "sentence_bert_config.json", bert)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
