"""Small teachers with random weights, for tests and examples without a download."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

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
    """Builds a BERT teacher with random weights, whose word pieces are given words and characters.

    Args:
        words: words that become one piece each. ASCII letters, digits and punctuation marks are
            also pieces, so that every other ASCII word is a sequence of pieces.
        width: d, a multiple of num_heads.
        num_layers: L.
        num_heads: number of attention heads.
        max_length: longest text in pieces.
        seed: seed of the weights.

    Raises:
        ValueError: if a size is not positive, or num_heads does not divide width.
        ImportError: if the tokenizers library is missing.

    Example:
        >>> jc.text.random_teacher(["cat", "mat"], num_layers=1).encode(["the cat"]).shape
        (1, 16)
    """
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    except ImportError as error:
        raise ImportError(f"random_teacher needs tokenizers: {EXTRA}") from error
    own = checks.texts("words", words)
    checks.seed("seed", seed)
    # no upper-case letters: the normalizer below lower-cases every text
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
    return make_teacher(model, _initial(model, jax.random.key(seed)), tokenizer)


# compiled, and once for each configuration: op by op, it takes several times as long
@functools.partial(jax.jit, static_argnums=0)
def _initial(model: Bert, key: jax.Array) -> Any:
    return model.init(key, jnp.zeros((1, 4), jnp.int32))
