"""Encoders of sentences: a shallow Transformer that languages share, and a bag of embeddings."""

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
    """Sentence vectors from a shallow Transformer; both languages pass through the same weights.

        h = LN(W[x] + P[position]),   twice:  h <- LN(h + MHA(h)),  h <- LN(h + W2 swish(W1 h))
        s = mean of h over the pieces,    logits = W LN(swish(A s + a)) + b

    Layers normalize after the sum. The output matrix is the input embedding, with one softmax over
    the vocabulary for each SENTENCE. Piece 0 is padding and changes nothing; positions start at 1.

    Attributes:
        vocab_size: V.
        width: d, a multiple of num_heads.
        num_layers: of the Transformer.
        num_heads: of each layer.
        hidden: width of the feed-forward part.
        max_len: longest sentence, in pieces.
        dropout: on embeddings, attention weights and the output of both parts of a layer.
        pooling: how the last layer becomes a sentence vector.
        buckets: B > 0 adds bags to the Transformer, ``s + bag of pieces + bag of pairs of
            neighbors``, see :class:`BagEncoder`; 0 is the paper's encoder.
        projection: width of a linear head for contrast, as EMS has one (128); 0 for none.

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
        """Declares the weights."""
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
        """Sentence vectors ``[b, d]`` and logits ``[b, V]`` of pieces ``[b, L]``.

        With ``train``, dropout needs ``rngs={"dropout": key}``.
        """
        vector = self.sentence(ids, train)
        if self.is_initializing():
            self.project(vector)
        return vector, self.predict(vector)

    def project(self, vector: Array) -> Array:
        """What is contrasted: the sentence vector, or its projection."""
        return self.head(vector) if self.projection else vector

    def sentence(self, ids: Array, train: bool = False) -> Array:
        """Sentence vectors ``[b, d]``, before the head, of pieces ``[b, L]`` with L <= max_len."""
        if ids.shape[-1] > self.max_len:
            raise ValueError(f"ids must be [b, L <= max_len={self.max_len}], got {ids.shape}")
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
        """Logits ``[b, V]`` of sentence vectors ``[b, d]``."""
        z = self.transform_norm(nn.swish(self.transform(vector)))
        return z @ self.embedding.T + self.bias


class Layer(nn.Module):
    """One layer of a Transformer that normalizes after its sums."""

    num_heads: int
    hidden: int
    dropout: float

    @nn.compact
    def __call__(self, h: Array, mask: Array, deterministic: bool) -> Array:
        """From ``[b, L, d]`` to the same; mask ``[b, 1, 1, L]`` is False at keys not to look at."""
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
    """Sentence vectors as means of embeddings, of pieces and of hashed pairs of neighbors.

        s = (1/n) ( sum_i W[x_i] + sum_i G[hash(x_i, x_{i+1}) mod B] ),    logits = W s + b

    Attributes:
        vocab_size: V.
        width: d.
        buckets: B, rows of the table of pairs; 0 for none.

    Source: of pairs, Pagliardini, Gupta and Jaggi 2018, arXiv 1703.02507 (Sent2Vec).
    """

    vocab_size: int
    width: int = 128
    buckets: int = 0

    def setup(self) -> None:
        """Declares the weights."""
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
        """Sentence vectors ``[b, d]`` and logits ``[b, V]`` of pieces ``[b, L]``."""
        vector = self.sentence(ids, train)
        return vector, self.predict(vector)

    def sentence(self, ids: Array, train: bool = False) -> Array:
        """Sentence vectors ``[b, d]`` of pieces ``[b, L]``."""
        checks.integers("ids", ids)
        there = ids > 0
        total = jnp.where(there[..., None], self.embedding[ids], 0).sum(1)
        if self.buckets:
            embedded = self.pairs[hashed_pairs(ids, self.buckets)]
            total += jnp.where(there[:, 1:, None], embedded, 0).sum(1)
        return total / _count(there)

    def predict(self, vector: Array) -> Array:
        """Logits ``[b, V]`` of sentence vectors ``[b, d]``."""
        return vector @ self.embedding.T + self.bias


def hashed_pairs(ids: Array, buckets: int) -> Array:
    """A row in 0..B-1 for each pair of neighbors, int32 ``[b, L-1]`` of pieces ``[b, L]``."""
    left, right = ids[:, :-1].astype(jnp.uint32), ids[:, 1:].astype(jnp.uint32)
    h = left * jnp.uint32(2654435761) + right * jnp.uint32(40503) + jnp.uint32(977)
    h = (h ^ (h >> 15)) * jnp.uint32(2246822519)
    return ((h ^ (h >> 13)) % jnp.uint32(buckets)).astype(jnp.int32)


def pool(h: Array, there: Array, pooling: str = "mean") -> Array:
    """One vector ``[b, d]`` of those ``[b, L, d]`` that are there, bool ``[b, L]``."""
    if pooling == "max":
        return jnp.where(there[..., None], h, -jnp.inf).max(1, initial=-1e6)
    total = jnp.where(there[..., None], h, 0).sum(1)
    return total if pooling == "sum" else total / _count(there)


def check_vocabulary(size: int) -> None:
    """ValueError for a vocabulary without pieces."""
    if size < 4:
        raise ValueError(f"vocab_size must be at least 4 (three are special), got {size}")


def _count(there: Array) -> Array:
    return jnp.maximum(there.sum(1, keepdims=True), 1)


def _norm(name: str | None = None) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=EPSILON, use_fast_variance=False, name=name)


def _padded(start: Callable) -> Callable:
    return lambda key, shape, dtype=jnp.float32: start(key, shape, dtype).at[0].set(0)


def _frozen_padding(table: Array) -> Array:
    """The table with no gradient to row 0, which the output may still use as a class."""
    return table.at[0].set(jax.lax.stop_gradient(table[0]))
