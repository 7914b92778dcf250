"""Small teachers with random weights, for tests and trials without a download."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.models.bert import Bert, BertConfig
from jcollab.text.teacher import EXTRA, Teacher, make_teacher

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def random_teacher(
    words: Iterable[str],
    *,
    width: int = 16,
    num_layers: int = 2,
    num_heads: int = 2,
    max_length: int = 512,
    seed: int = 0,
) -> Teacher:
    """A BERT with random weights whose word pieces are given words and single characters.

    Args:
        words: each becomes one piece; letters and punctuation are pieces as well, so that any
            other word can be spelt.
        width: d.
        num_layers: L.
        num_heads: attention heads.
        max_length: positions.
        seed: of the weights.

    Raises:
        ValueError: for sizes that make no encoder.
        ImportError: if tokenizers is not installed.

    Example:
        >>> random_teacher(["cat", "mat"], num_layers=1).encode(["the cat"]).shape
        (1, 16)
    """
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    except ImportError as error:
        raise ImportError(f"random_teacher needs tokenizers: {EXTRA}") from error
    own = checks.texts("words", words)
    checks.seed("seed", seed)
    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    known = dict.fromkeys([*SPECIAL, *letters, *(f"##{c}" for c in letters), *own])
    vocabulary = {piece: i for i, piece in enumerate(known)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    config = BertConfig(len(vocabulary), width, num_layers, num_heads, 2 * width, max_length)
    model = Bert(config)
    params = model.init(jax.random.key(seed), jnp.zeros((1, 4), jnp.int32))
    return make_teacher(model, params, tokenizer)
