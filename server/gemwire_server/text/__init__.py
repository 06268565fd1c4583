"""From a text to token ids: prompts, tokenizer files and tokenizers."""
