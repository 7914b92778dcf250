"""A BERT encoder in flax, with the weights of any Hugging Face BERT checkpoint."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks

Array = jax.Array
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": jax.nn.gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "relu": jax.nn.relu,
}
SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "width",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "inner_width",
    "max_position_embeddings": "max_length",
}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT encoder.

    Attributes:
        vocab_size: number of word pieces.
        width: d, of every hidden state.
        num_layers: transformer layers.
        num_heads: attention heads; they divide d.
        inner_width: of the feed-forward layers.
        max_length: positions that have an embedding.
        type_vocab_size: segment types, of which the first is used.
        epsilon: of layer normalization.
        activation: of the feed-forward layers.
    """

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    inner_width: int
    max_length: int = 512
    type_vocab_size: int = 2
    epsilon: float = 1e-12
    activation: str = "gelu"

    def __post_init__(self) -> None:
        """Refuses sizes that make no encoder."""
        names = (*SIZES.values(), "type_vocab_size")
        checks.counts(**{name: getattr(self, name) for name in names})
        if self.width % self.num_heads:
            raise ValueError(
                f"num_heads must divide width={self.width}, got num_heads={self.num_heads}"
            )
        checks.one_of("activation", self.activation, ACTIVATIONS)


class _Layer(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual and a normalization after."""

    config: BertConfig

    @nn.compact
    def __call__(self, x: Array, bias: Array) -> tuple[Array, Array]:
        c = self.config
        split = (*x.shape[:2], 3, c.num_heads, c.width // c.num_heads)
        # one product for queries, keys and values
        q, k, v = jnp.moveaxis(nn.Dense(3 * c.width, name="qkv")(x).reshape(split), 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(split[-1]) + bias
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(x.shape)
        x = _norm(c, "attention_norm")(x + nn.Dense(c.width, name="attention_output")(mixed))
        inner = ACTIVATIONS[c.activation](nn.Dense(c.inner_width, name="inner")(x))
        x = _norm(c, "output_norm")(x + nn.Dense(c.width, name="output")(inner))
        return x, x


class Bert(nn.Module):
    """Bidirectional transformer encoder with normalization after each part.

        h^0 = LN(W_word + W_position + W_type),   h^l = layer_l(h^{l-1}),   l = 1..L

    In evaluation: there is no dropout, as a frozen teacher has none.

    Example:
        >>> model = Bert(BertConfig(100, 8, 1, 2, 16))
        >>> ids = jnp.ones((2, 5), jnp.int32)
        >>> params = jax.eval_shape(model.init, jax.random.key(0), ids)
        >>> jax.eval_shape(model.apply, params, ids).shape
        (2, 5, 8)

    Source: Devlin, Chang, Lee and Toutanova 2019, arXiv 1810.04805.
    """

    config: BertConfig

    @nn.compact
    def __call__(self, ids: Array, mask: Array | None = None, layers: tuple = (-1,)) -> Array:
        """Hidden states.

        Args:
            ids: word pieces, int ``[b, L]``, L at most ``max_length``.
            mask: ``[b, L]``, 0 where there is padding, which is not attended to; None for none.
            layers: which h^l, in -L-1..L; the last alone by default.

        Returns:
            ``[b, L, d]``, or for several layers ``[b, len(layers), L, d]``.

        Raises:
            ValueError: for sequences that are too long or a layer that is not there.
        """
        checks.integers("ids", ids)
        c = self.config
        if ids.shape[1] > c.max_length:
            raise ValueError(f"ids must be at most {c.max_length} pieces long, got {ids.shape[1]}")
        if not layers or any(not -c.num_layers - 1 <= i <= c.num_layers for i in layers):
            raise ValueError(
                f"layers must lie in -{c.num_layers + 1}..{c.num_layers}, got {layers}"
            )
        mask = jnp.ones(ids.shape, bool) if mask is None else mask.astype(bool)
        bias = jnp.where(mask, 0.0, jnp.finfo(jnp.float32).min)[:, None, None, :]
        tables = {
            name: self.param(name, nn.initializers.normal(0.02), (rows, c.width))
            for name, rows in (
                ("word", c.vocab_size),
                ("position", c.max_length),
                ("type", c.type_vocab_size),
            )
        }
        x = tables["word"][ids] + tables["position"][: ids.shape[1]] + tables["type"][0]
        first = _norm(c, "norm")(x)
        # a loop over layers: one of them is compiled, whatever their number
        loop = nn.scan(
            _Layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=c.num_layers,
        )
        last, states = loop(c, name="layers")(first, bias)
        if layers == (-1,):
            return last
        states = jnp.concatenate([first[None], states])[jnp.asarray(layers)]
        return states[0] if len(layers) == 1 else jnp.moveaxis(states, 0, 1)


def _norm(config: BertConfig, name: str) -> nn.LayerNorm:
    # the variance from centered values, as in PyTorch
    return nn.LayerNorm(epsilon=config.epsilon, use_fast_variance=False, name=name)


def bert_config(directory: str | os.PathLike) -> BertConfig:
    """Sizes from the ``config.json`` of a Hugging Face BERT checkpoint.

    Args:
        directory: of the checkpoint.

    Raises:
        FileNotFoundError: if there is no config.json.
        ValueError: if it is not of a BERT encoder with absolute positions, or lacks a size.
    """
    path = pathlib.Path(directory) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"directory must have config.json, and {path} is not there")
    config = json.loads(path.read_text("utf-8"))
    if config.get("model_type") != "bert":
        raise ValueError(f"model_type in {path} must be 'bert', got {config.get('model_type')!r}")
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise ValueError(f"position_embedding_type in {path} must be 'absolute', got {kind!r}")
    if missing := [name for name in SIZES if name not in config]:
        raise ValueError(f"{path} must have {', '.join(missing)}")
    return BertConfig(
        **{own: config[name] for name, own in SIZES.items()},
        type_vocab_size=config.get("type_vocab_size", 2),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        activation=config.get("hidden_act", "gelu"),
    )


def load_bert(directory: str | os.PathLike) -> tuple[Bert, Any]:
    """A pretrained encoder from ``config.json`` and ``model.safetensors``, without PyTorch.

    Args:
        directory: of the checkpoint. Names of tensors may start with ``bert.``; what an encoder
            has no use for (pooler, heads) is left out.

    Returns:
        The model and its parameters, float32, for ``model.apply(params, ids, mask)``.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: naming a tensor that is missing or has another shape than the sizes give.
        ImportError: if safetensors is not installed (``pip install "jax-collab[text]"``).
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError('load_bert needs safetensors: pip install "jax-collab[text]"') from error
    config = bert_config(directory)
    path = pathlib.Path(directory) / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"directory must have model.safetensors, and {path} is not there")
    tables: dict[str, Any] = {}
    layers: dict[tuple[str, ...], list[np.ndarray]] = {}
    try:
        opened = safe_open(path, framework="flax")
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file: {error}") from error
    with opened as file:
        there = set(file.keys())
        prefix = "bert." if any(name.startswith("bert.embeddings.") for name in there) else ""
        for place, names, shape in _tensors(config):
            parts = []
            for name in (prefix + name for name in names):
                if name not in there:
                    raise ValueError(f"{path} must have the tensor {name!r}, which is missing")
                part = np.asarray(file.get_tensor(name), np.float32)
                if part.shape != shape:
                    raise ValueError(
                        f"tensor {name!r} in {path} must have shape {shape}, got {part.shape}"
                    )
                # (out, in) of PyTorch becomes (in, out)
                parts.append(part.T if place[-1] == "kernel" else part)
            leaf = np.concatenate(parts, -1) if len(parts) > 1 else parts[0]
            if ".layer." in names[0]:
                layers.setdefault(place, []).append(leaf)
            else:
                _put(tables, place, leaf)
    for place, parts in layers.items():
        _put(tables, ("layers", *place), np.stack(parts))
    return Bert(config), {"params": tables}


def _put(tree: dict[str, Any], place: tuple[str, ...], leaf: np.ndarray) -> None:
    for step in place[:-1]:
        tree = tree.setdefault(step, {})
    tree[place[-1]] = jnp.asarray(leaf)


def _tensors(c: BertConfig) -> Iterator[tuple[tuple[str, ...], list[str], tuple[int, ...]]]:
    """Place in the parameters, names in the checkpoint, and the shape of each tensor there."""
    sizes = {"word": c.vocab_size, "position": c.max_length, "token_type": c.type_vocab_size}
    for name, rows in sizes.items():
        own = "type" if name == "token_type" else name
        yield (own,), [f"embeddings.{name}_embeddings.weight"], (rows, c.width)

    def norm(own: str, name: str) -> Iterator:
        yield (own, "scale"), [f"{name}.weight"], (c.width,)
        yield (own, "bias"), [f"{name}.bias"], (c.width,)

    def dense(own: str, names: list[str], rows: int, columns: int) -> Iterator:
        yield (own, "kernel"), [f"{n}.weight" for n in names], (rows, columns)
        yield (own, "bias"), [f"{n}.bias" for n in names], (rows,)

    yield from norm("norm", "embeddings.LayerNorm")
    for i in range(c.num_layers):
        name = f"encoder.layer.{i}"
        heads = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        yield from dense("qkv", heads, c.width, c.width)
        yield from dense("attention_output", [f"{name}.attention.output.dense"], c.width, c.width)
        yield from norm("attention_norm", f"{name}.attention.output.LayerNorm")
        yield from dense("inner", [f"{name}.intermediate.dense"], c.inner_width, c.width)
        yield from dense("output", [f"{name}.output.dense"], c.width, c.inner_width)
        yield from norm("output_norm", f"{name}.output.LayerNorm")
