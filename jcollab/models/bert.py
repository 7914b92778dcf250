"""A BERT encoder in flax that loads the weights of Hugging Face BERT checkpoints."""

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
# "gelu" is exact in Hugging Face's models, while JAX's default is the approximation by tanh
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": jax.nn.gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "relu": jax.nn.relu,
}
# name in config.json: name in BertConfig
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
        width: d, width of every hidden state.
        num_layers: number of transformer layers.
        num_heads: number of attention heads, a divisor of d.
        inner_width: width of the feed-forward layers.
        max_length: number of position embeddings.
        type_vocab_size: number of segment types; only the first is used.
        epsilon: epsilon of layer normalization.
        activation: ``"gelu"``, ``"gelu_new"``, ``"gelu_pytorch_tanh"`` or ``"relu"``, of the
            feed-forward layers.

    Raises:
        ValueError: if a size is below 1, num_heads does not divide d, or the activation is unknown.

    Example:
        >>> config = jc.models.BertConfig(
        ...     vocab_size=100, width=8, num_layers=1, num_heads=2, inner_width=16
        ... )
        >>> config.max_length, config.activation
        (512, 'gelu')
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
        """Checks the sizes."""
        names = (*SIZES.values(), "type_vocab_size")
        checks.counts(**{name: getattr(self, name) for name in names})
        if self.width % self.num_heads:
            raise ValueError(
                f"num_heads must divide width={self.width}, got num_heads={self.num_heads}"
            )
        checks.one_of("activation", self.activation, ACTIVATIONS)


class _Layer(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual sum and then normalization."""

    config: BertConfig

    @nn.compact
    def __call__(self, x: Array, bias: Array) -> tuple[Array, Array]:
        c = self.config
        split = (*x.shape[:2], 3, c.num_heads, c.width // c.num_heads)
        # one matrix product for queries, keys and values is faster than three
        q, k, v = jnp.moveaxis(nn.Dense(3 * c.width, name="qkv")(x).reshape(split), 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(split[-1]) + bias
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(x.shape)
        x = _norm(c, "attention_norm")(x + nn.Dense(c.width, name="attention_output")(mixed))
        inner = ACTIVATIONS[c.activation](nn.Dense(c.inner_width, name="inner")(x))
        x = _norm(c, "output_norm")(x + nn.Dense(c.width, name="output")(inner))
        return x, x  # carry and output of the scan over layers


class Bert(nn.Module):
    """A bidirectional transformer encoder with normalization after each part.

        h^0 = LN(W_word + W_position + W_type),   h^l = layer_l(h^{l-1}),   l = 1..L

    There is no dropout, since the encoder is used as a frozen teacher.

    Attributes:
        config: sizes of the encoder.

    Example:
        >>> config = jc.models.BertConfig(
        ...     vocab_size=100, width=8, num_layers=1, num_heads=2, inner_width=16
        ... )
        >>> model = jc.models.Bert(config)
        >>> ids = jnp.ones((2, 5), jnp.int32)
        >>> params = jax.eval_shape(model.init, jax.random.key(0), ids)
        >>> jax.eval_shape(model.apply, params, ids).shape
        (2, 5, 8)

    Source: Devlin, Chang, Lee and Toutanova 2019, arXiv 1810.04805.
    """

    config: BertConfig

    @nn.compact
    def __call__(self, ids: Array, mask: Array | None = None, layers: tuple = (-1,)) -> Array:
        """Computes hidden states.

        Args:
            ids: word pieces, int ``[b, L]``, L at most ``max_length``.
            mask: ``[b, L]``, 0 for padding, which is not attended to; None for no padding.
            layers: indices l of the hidden states to return; negative ones count from the end.

        Returns:
            ``[b, L, d]``, or for several layers ``[b, len(layers), L, d]``.

        Raises:
            ValueError: if a sequence is too long, or a layer is out of range.
        """
        checks.integers("ids", ids)
        c = self.config
        if ids.shape[1] > c.max_length:
            raise ValueError(f"ids must be at most {c.max_length} pieces long, got {ids.shape[1]}")
        if not layers or any(not -c.num_layers - 1 <= i <= c.num_layers for i in layers):
            raise ValueError(f"layers must be in -{c.num_layers + 1}..{c.num_layers}, got {layers}")
        # the smallest finite number: with -inf, the softmax is NaN if all keys are masked
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
        # A scan over layers compiles one layer, whatever their number. Parameters are stacked along
        # a leading layer axis.
        loop = nn.scan(
            _Layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=c.num_layers,
        )
        last, states = loop(c, name="layers")(first, bias)
        if layers == (-1,):
            return last  # the stacked states are then removed by the compiler
        states = jnp.concatenate([first[None], states])[jnp.asarray(layers)]
        return states[0] if len(layers) == 1 else jnp.moveaxis(states, 0, 1)


def _norm(config: BertConfig, name: str) -> nn.LayerNorm:
    # E (x - mean)^2 as in PyTorch: the fast variance E x^2 - mean^2 loses digits
    return nn.LayerNorm(epsilon=config.epsilon, use_fast_variance=False, name=name)


def bert_config(directory: str | os.PathLike) -> BertConfig:
    """Reads sizes from the ``config.json`` of a Hugging Face BERT checkpoint.

    Args:
        directory: directory of the checkpoint.

    Raises:
        FileNotFoundError: if config.json is missing.
        ValueError: if the model is not a BERT encoder with absolute positions, or a size is
            missing.
    """
    path = pathlib.Path(directory) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"directory must contain config.json, but {path} does not exist")
    config = json.loads(path.read_text("utf-8"))
    if config.get("model_type") != "bert":
        raise ValueError(f"model_type in {path} must be 'bert', got {config.get('model_type')!r}")
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise ValueError(f"position_embedding_type in {path} must be 'absolute', got {kind!r}")
    if missing := [name for name in SIZES if name not in config]:
        raise ValueError(f"{path} must contain {', '.join(missing)}")
    return BertConfig(
        **{own: config[name] for name, own in SIZES.items()},
        type_vocab_size=config.get("type_vocab_size", 2),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        activation=config.get("hidden_act", "gelu"),
    )


def load_bert(directory: str | os.PathLike) -> tuple[Bert, Any]:
    """Loads a pretrained encoder from ``config.json`` and ``model.safetensors``, without PyTorch.

    Args:
        directory: directory of the checkpoint, for example downloaded from Hugging Face. Names of
            tensors may start with ``bert.``; tensors that are not part of the encoder (pooler,
            heads) are ignored.

    Returns:
        The model and its parameters, float32, for ``model.apply(params, ids, mask)``.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a tensor is missing, or its shape does not match the sizes in config.json.
        ImportError: if safetensors is not installed (``pip install "jax-collab[text]"``).

    Example:
        >>> model, params = jc.models.load_bert("bert-base-uncased")
        Traceback (most recent call last):
        FileNotFoundError: directory must contain config.json, but ... does not exist
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError('load_bert needs safetensors: pip install "jax-collab[text]"') from error
    config = bert_config(directory)
    path = pathlib.Path(directory) / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"directory must contain model.safetensors, but {path} does not exist"
        )
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
                    raise ValueError(f"{path} must contain the tensor {name!r}, which is missing")
                part = np.asarray(file.get_tensor(name), np.float32)
                if part.shape != shape:
                    raise ValueError(
                        f"tensor {name!r} in {path} must have shape {shape}, got {part.shape}"
                    )
                # PyTorch stores kernels as (out, in), flax as (in, out)
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
    """Yields, for each leaf, its path, the names of its tensors in the checkpoint, and their shape.

    The kernels of queries, keys and values are three tensors of the checkpoint and one leaf.
    """
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
