"""Texts that tokenizers disagree on, and random ones."""

import random

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzETAOIN   ", "éüßñçøåžłő", "абвгдежзик АБВ", "αβγδε",
    "你好世界天气火星的是", "こんにちはカタカナ", "한국어날씨",
    "العربية السلام", "שלום עולם", "हिन्दी मंगल",
    "ไทยภาษา", "😀🚀👍🏽❤️👩‍🚀🇩🇪", "\u0301\u0308\u20e3\u200d\ufe0f",
    "0123456789.,:;!?-_=+/\\|(){}[]<>\"'`~@#$%^&*",
    "\0\x01\x7f\x85\xa0\u2028\u3000\ufeff\ufffd\ue000\U0010ffff", "▁", "\r\n",
]  # fmt: skip


SPELLED = [
    "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>",
    "<start_of_image>", "<0x41>", "<bos", "<<bos>>", "eos>", "<BOS>", "<table>", "</h1>",
    "<unused0>", "[multimodal]", "▁▁", "▁ ▁",
]  # fmt: skip


EDGES = [
    " ", "  ", "\n", "\0", "a\0b", "\t\t\n ", "▁", " ▁ ▁▁  ", "<bos>", "<bos><eos>", " <bos> ",
    "x<eos>y", "<start_of_turn>user\nhi<end_of_turn>\n", "<pad><unk>", "<0x0A>", "a\u0301\u0301",
    "👩‍👩‍👧‍👦", "\r\n\r\n", "e" * 700, "ab" * 400, "\u200f\u202eabc", "\U0010ffff", "\ufeffbom",
    *(" " * n + "to the t" for n in (1, 2, 3, 31, 32, 33)),
    *(char * n for char in " \n\t▁" for n in (2, 3, 15, 16, 30, 31, 32, 33, 62, 63, 64, 100)),
]  # fmt: skip


def random_text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.6:
            parts.append("".join(rng.choices(rng.choice(ALPHABETS), k=rng.randint(1, 20))))
        elif kind < 0.8:
            parts.append(rng.choice(" \n\t▁") * rng.choice([1, 2, 3, 4, 8, 16, 30, 31, 32, 33, 64]))
        else:
            parts.append(rng.choice(SPELLED))
    return "".join(parts)


def random_texts(count: int) -> list[str]:
    rng = random.Random(20)
    return [random_text(rng) for _ in range(count)]
