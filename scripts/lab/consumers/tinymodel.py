"""A language model without weights: words that mean nothing, and a template for chats."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

_SYLLABLES = (
    "ba ke lo mi nu re sa to vi po de fu ga hi ju zo",
    "ban del fin gor hum jet kip lam mod nut pas ros sil tur vex wyn",
    "a e i o u ar en is ot um al er in or us ax",
)
_SPECIAL = ("<unk>", "<s>", "</s>")
_TEMPLATE = "{% for one in messages %}{{ one['role'] }} {{ one['content'] }} {% endfor %}assistant "
_LONGEST = 8192  # tokens of a history with its answer


def write_model(folder: Path) -> None:
    """Write what a server needs to know of a model that it only pretends to run."""
    folder.mkdir()
    made = itertools.product(*(syllables.split() for syllables in _SYLLABLES))
    words = [*_SPECIAL, *map("".join, made)]
    files = {
        "tokenizer.json": _tokenizer(words),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": _SPECIAL[0],
            "bos_token": _SPECIAL[1],
            "eos_token": _SPECIAL[2],
            "model_max_length": _LONGEST,
            "chat_template": _TEMPLATE,
        },
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": len(words),
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": _LONGEST,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def _tokenizer(words: list[str]) -> dict[str, Any]:
    """One token a word: https://huggingface.co/docs/tokenizers, WordLevel."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    special = [{"id": at, "content": word, "special": True} | flags
               for at, word in enumerate(_SPECIAL)]  # fmt: skip
    vocabulary = {word: at for at, word in enumerate(words)}
    return {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": _SPECIAL[0]},
    }
