"""A byte-level BPE tokenizer trained on a page of text, in the file format of Hugging Face's tokenizers."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any, Final

SPECIAL: Final = ("<s>", "</s>", "<pad>")
# A word with the blank before it, a run of signs, or a run of blanks: close to what the tokenizer itself splits by.
_PIECES: Final = re.compile(r" ?\w+| ?[^\s\w]+|\s+")

Pair = tuple[str, str]


def byte_letters() -> dict[int, str]:
    """The printable letter that stands for each byte, as every byte-level BPE has it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(0x100 + number) for number, byte in enumerate(others)}


def train(text: str, vocabulary_size: int) -> tuple[dict[str, int], list[Pair]]:
    """The vocabulary and the merges, most frequent pair first; of equally frequent ones the first in order.

    Raises:
        ValueError: the text is too short for so many tokens.
    """
    letters = byte_letters()
    words = Counter(tuple(letters[byte] for byte in piece.encode()) for piece in _PIECES.findall(text))
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *sorted(letters.values())))}
    merges: list[Pair] = []
    while len(vocabulary) < vocabulary_size:
        pairs: Counter[Pair] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            raise ValueError(f"the text gives {len(vocabulary)} tokens, not {vocabulary_size}")
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        vocabulary.setdefault("".join(best), len(vocabulary))
        merged: Counter[tuple[str, ...]] = Counter()
        for word, count in words.items():
            merged[_merge(word, best)] += count
        words = merged
    return vocabulary, merges


def _merge(word: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    out: list[str] = []
    position = 0
    while position < len(word):
        if word[position : position + 2] == pair:
            out.append("".join(pair))
            position += 2
        else:
            out.append(word[position])
            position += 1
    return tuple(out)


def tokenizer_document(vocabulary: dict[str, int], merges: list[Pair]) -> dict[str, Any]:
    """The content of ``tokenizer.json``."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **flags, "special": True} for number, token in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in merges],
        },
    }
