"""Sentence encoders: a shallow Transformer shared by two languages, and a bag of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jcollab import checks
from jcollab.core import Array

EPSILON = 1e-12  # of layer normalization
POOLINGS = ("mean", "max", "sum")


class SharedEncoder(nn.Module):
    """A shallow Transformer for sentence vectors, with the same weights for all languages.

        h = LN(W[x] + P[position]),   twice:  h <- LN(h + MHA(h)),  h <- LN(h + W2 swish(W1 h))
        s = mean of h over the pieces,    logits = W LN(swish(A s + a)) + b

    Layers normalize after the sum. The output matrix is the input embedding, and there is one
    softmax over the vocabulary for each SENTENCE, not for each piece. Piece 0 is padding and does
    not change the result; positions start at 1.

    Attributes:
        vocab_size: V.
        width: d, a multiple of num_heads.
        num_layers: number of layers of the Transformer.
        num_heads: number of attention heads of each layer.
        hidden: width of the feed-forward part.
        max_len: length of the longest sentence, in pieces.
        dropout: dropout rate of embeddings, attention weights and the outputs of both parts of a
            layer.
        pooling: how the hidden states of the last layer are combined, ``"mean"``, ``"max"`` or
            ``"sum"``.
        buckets: B > 0 adds to s a bag of pieces and a bag of hashed pairs of neighboring pieces,
            see :class:`BagEncoder`; 0 is the paper's encoder.
        projection: width of a linear head for contrastive losses (128 in EMS); 0 for no head.

    Example:
        >>> model = jc.models.SharedEncoder(vocab_size=50, width=8, num_layers=1, num_heads=2)
        >>> ids = jnp.array([[7, 8, 9, 0], [7, 8, 0, 0]])  # two sentences, padded with 0
        >>> params = jax.eval_shape(model.init, jax.random.key(0), ids)
        >>> vectors, logits = jax.eval_shape(model.apply, params, ids)
        >>> vectors.shape, logits.shape
        ((2, 8), (2, 50))

    Source: Mao, Gupta, Wang, Chu, Jaggi and Kurohashi 2021, arXiv 2105.13856.
    """

    vocab_size: int
    width: int = 512
    num_layers: int = 2
    num_heads: int = 8
    hidden: int = 1024
    max_len: int = 200
    dropout: float = 0.1
    pooling: Literal["mean", "max", "sum"] = "mean"
    buckets: int = 0
    projection: int = 0

    def setup(self) -> None:
        """Creates the weights."""
        check_vocabulary(self.vocab_size)
        if self.width < 1 or self.num_heads < 1 or self.width % self.num_heads:
            raise ValueError(
                f"width must be a positive multiple of num_heads={self.num_heads}, got {self.width}"
            )
        checks.one_of("pooling", self.pooling, POOLINGS)
        start = nn.initializers.normal(0.02)
        self.embedding = self.param("embedding", _padded(start), (self.vocab_size, self.width))
        self.position = self.param("position", _padded(start), (self.max_len + 1, self.width))
        self.norm = _norm()
        self.layers = [
            Layer(self.num_heads, self.hidden, self.dropout) for _ in range(self.num_layers)
        ]
        self.drop = nn.Dropout(self.dropout)
        self.transform = nn.Dense(self.width)
        self.transform_norm = _norm()
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,))
        if self.buckets:
            self.bag = BagEncoder(self.vocab_size, self.width, self.buckets)
        if self.projection:
            self.head = nn.Dense(self.projection)

    def __call__(self, ids: Array, train: bool = False) -> tuple[Array, Array]:
        """Computes sentence vectors ``[b, d]`` and logits ``[b, V]`` of pieces ``[b, L]``.

        With ``train``, dropout needs ``rngs={"dropout": key}``.
        """
        vector = self.sentence(ids, train)
        # flax creates only the parameters of layers that are called: the head is not otherwise
        if self.is_initializing():
            self.project(vector)
        return vector, self.predict(vector)

    def project(self, vector: Array) -> Array:
        """Computes the input of contrastive losses: the vector, projected if there is a head."""
        return self.head(vector) if self.projection else vector

    def sentence(self, ids: Array, train: bool = False) -> Array:
        """Computes sentence vectors ``[b, d]``, before the head, of pieces ``[b, L]``."""
        if ids.shape[-1] > self.max_len:
            raise ValueError(
                f"ids must have shape [b, L] with L <= max_len={self.max_len}, got {ids.shape}"
            )
        checks.integers("ids", ids)
        there = ids > 0
        places = jnp.where(there, jnp.arange(1, ids.shape[-1] + 1), 0)
        h = _frozen_padding(self.embedding)[ids] + _frozen_padding(self.position)[places]
        h = self.drop(self.norm(h), deterministic=not train)
        mask = there[:, None, None, :]
        for layer in self.layers:
            h = layer(h, mask, not train)
        s = pool(h, there, self.pooling)
        return s + self.bag.sentence(ids) if self.buckets else s

    def predict(self, vector: Array) -> Array:
        """Computes logits ``[b, V]`` of sentence vectors ``[b, d]``."""
        z = self.transform_norm(nn.swish(self.transform(vector)))
        # the output matrix is the input embedding; here, row 0 is a class and gets a gradient
        return z @ self.embedding.T + self.bias


class Layer(nn.Module):
    """One layer of a Transformer, with normalization after each residual sum."""

    num_heads: int
    hidden: int
    dropout: float

    @nn.compact
    def __call__(self, h: Array, mask: Array, deterministic: bool) -> Array:
        """Maps ``[b, L, d]`` to the same shape; ``mask [b, 1, 1, L]`` is False at ignored keys."""
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        attended = nn.MultiHeadDotProductAttention(
            self.num_heads,
            dropout_rate=self.dropout,
            broadcast_dropout=False,
            deterministic=deterministic,
            name="attention",
        )(h, mask=mask)
        h = _norm("attention_norm")(h + drop(attended))
        inner = nn.swish(nn.Dense(self.hidden, name="inner")(h))
        return _norm("norm")(h + drop(nn.Dense(h.shape[-1], name="outer")(inner)))


class BagEncoder(nn.Module):
    """An encoder that averages the embeddings of pieces and of hashed pairs of neighboring pieces.

        s = (1/n) ( sum_i W[x_i] + sum_i G[hash(x_i, x_{i+1}) mod B] ),    logits = W s + b

    Attributes:
        vocab_size: V.
        width: d.
        buckets: B, number of rows of the table of pairs; 0 for no pairs.

    Example:
        >>> model = jc.models.BagEncoder(vocab_size=50, width=8)
        >>> ids = jnp.array([[7, 8, 0], [8, 7, 0]])  # the same pieces in another order
        >>> (vectors, _), params = model.init_with_output(jax.random.key(0), ids)
        >>> bool(jnp.allclose(vectors[0], vectors[1]))
        True

    Source: for pairs, Pagliardini, Gupta and Jaggi 2018, arXiv 1703.02507 (Sent2Vec).
    """

    vocab_size: int
    width: int = 128
    buckets: int = 0

    def setup(self) -> None:
        """Creates the weights."""
        check_vocabulary(self.vocab_size)
        if self.width < 1 or self.buckets < 0:
            raise ValueError(
                f"width must be at least 1 and buckets at least 0, got {self.width}, {self.buckets}"
            )
        start = nn.initializers.normal(0.1)
        self.embedding = self.param("embedding", start, (self.vocab_size, self.width))
        if self.buckets:
            near = nn.initializers.normal(0.02)
            self.pairs = self.param("pairs", near, (self.buckets, self.width))
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,))

    def __call__(self, ids: Array, train: bool = False) -> tuple[Array, Array]:
        """Computes sentence vectors ``[b, d]`` and logits ``[b, V]`` of pieces ``[b, L]``."""
        vector = self.sentence(ids, train)
        return vector, self.predict(vector)

    def sentence(self, ids: Array, train: bool = False) -> Array:
        """Computes sentence vectors ``[b, d]`` of pieces ``[b, L]``."""
        checks.integers("ids", ids)
        there = ids > 0
        total = jnp.where(there[..., None], self.embedding[ids], 0).sum(1)
        if self.buckets:
            embedded = self.pairs[hashed_pairs(ids, self.buckets)]
            # padding follows the sentence, so a pair is real if its second piece is
            total += jnp.where(there[:, 1:, None], embedded, 0).sum(1)
        return total / _count(there)

    def predict(self, vector: Array) -> Array:
        """Computes logits ``[b, V]`` of sentence vectors ``[b, d]``."""
        return vector @ self.embedding.T + self.bias


def hashed_pairs(ids: Array, buckets: int) -> Array:
    """Hashes each pair of neighboring pieces ``[b, L]`` to a row in 0..B-1, int32 ``[b, L-1]``."""
    # Products are modulo 2^32, and the shifts mix high bits into the low ones, which determine the
    # remainder.
    left, right = ids[:, :-1].astype(jnp.uint32), ids[:, 1:].astype(jnp.uint32)
    h = left * jnp.uint32(2654435761) + right * jnp.uint32(40503) + jnp.uint32(977)
    h = (h ^ (h >> 15)) * jnp.uint32(2246822519)
    return ((h ^ (h >> 13)) % jnp.uint32(buckets)).astype(jnp.int32)


def pool(h: Array, there: Array, pooling: str = "mean") -> Array:
    """Combines the vectors ``[b, L, d]`` of pieces that are not padding into one, ``[b, d]``."""
    if pooling == "max":
        # ``initial`` is finite, so that a sentence without pieces does not give -inf, and NaN later
        return jnp.where(there[..., None], h, -jnp.inf).max(1, initial=-1e6)
    total = jnp.where(there[..., None], h, 0).sum(1)
    return total if pooling == "sum" else total / _count(there)


def check_vocabulary(size: int) -> None:
    """Raises ValueError for a vocabulary without pieces."""
    if size < 4:
        raise ValueError(f"vocab_size must be at least 4 (three pieces are special), got {size}")


def _count(there: Array) -> Array:
    # at least 1: the mean of an empty sentence is 0 and not NaN
    return jnp.maximum(there.sum(1, keepdims=True), 1)


def _norm(name: str | None = None) -> nn.LayerNorm:
    # E (x - mean)^2 as in PyTorch: the fast variance E x^2 - mean^2 loses digits
    return nn.LayerNorm(epsilon=EPSILON, use_fast_variance=False, name=name)


def _padded(start: Callable) -> Callable:
    return lambda key, shape, dtype=jnp.float32: start(key, shape, dtype).at[0].set(0)


def _frozen_padding(table: Array) -> Array:
    """Returns the table without a gradient to row 0, as with PyTorch's ``padding_idx``."""
    return table.at[0].set(jax.lax.stop_gradient(table[0]))
