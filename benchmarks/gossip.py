"""Compares rounds of mixing in a donated scan with a scale of the same bytes in the same loop.

A program that allocates its result waits for the pages of fresh memory, which hides what mixing
costs. Here every program runs in the memory of its argument, as :func:`jcollab.run` with
``donate=True`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jcollab as jc
from benchmarks.timing import interleaved
from jcollab.aggregators import self_centered_clip

ROUNDS = 4


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a round, and ratios to a scale and a copy of the same bytes."""
    rows = []
    for name, (mixer, n, d) in _cases().items():
        x = jnp.ones((n, d)) * jnp.arange(n, dtype=jnp.float32)[:, None]
        # The state may contain x itself, and a buffer cannot be donated twice.
        carry = jax.tree.map(jnp.copy, (x, mixer.init(x)))
        large = [leaf for leaf in jax.tree.leaves(carry) if leaf.size >= x.size]
        size = sum(leaf.nbytes for leaf in large)

        def mix(carry: tuple, _: Any, mixer: jc.Mixer = mixer) -> tuple:
            context = jc.core.Round(jax.random.key(0), jnp.int32(0))
            return mixer.update(*carry, context), None

        programs = {
            "mix": _donated(mix, carry),
            "scale": _donated(_scale, jax.tree.map(jnp.copy, large)),
            "copy": _donated(_copy, jax.tree.map(jnp.copy, (large, large))),
        }
        del x, carry, large
        seconds = interleaved(programs)
        row = {"case": name, "round [s]": seconds["mix"] / ROUNDS, "state [MB]": size / 1e6}
        row["scale [GB/s]"] = 2 * size * ROUNDS / seconds["scale"] / 1e9
        for other in ("scale", "copy"):
            row[f"round / {other}"] = seconds["mix"] / seconds[other]
        rows.append(row)
        programs.clear()  # frees the memory before the next case
    return rows


def _cases() -> dict[str, tuple[jc.Mixer, int, int]]:
    ring, chain = jc.topology.ring, jc.topology.chain
    many, few = 100_000, 256
    regular = jc.topology.random_regular
    directed = ring(few).graph.to_directed()
    clip = self_centered_clip(1.0)
    return {
        "ring, 256 x 1e6": (jc.gossip(ring(few), sparse=True), few, 1_000_000),
        "4-regular, 256 x 1e6": (jc.gossip(regular(few, 4), sparse=True), few, 1_000_000),
        "ring, 100,000 x 1e3": (jc.gossip(ring(many)), many, 1_000),
        "4-regular, 100,000 x 1e3": (jc.gossip(regular(many, 4)), many, 1_000),
        "push-sum, ring, 256 x 2.5e5": (jc.mixing.push_sum(directed), few, 250_000),
        "relay-sum, chain, 256 x 2.5e5": (jc.relay_sum(chain(few)), few, 250_000),
        "clipping, ring, 256 x 2.5e5": (jc.neighborhood(ring(few), clip), few, 250_000),
        "clipping, ring, 20,000 x 1e3": (jc.neighborhood(ring(20_000), clip), 20_000, 1_000),
    }


def _donated(step: Callable, carry: Any) -> Callable[[], Any]:
    """Returns a program of some rounds in the memory of ``carry``."""

    def rounds(carry: Any) -> Any:
        return jax.lax.scan(step, carry, 1 - jnp.arange(ROUNDS) / 1000)[0]

    run = jax.jit(rounds, donate_argnums=0, compiler_options=jc.layout.compiler_options())
    memory = [carry]

    def program() -> Any:
        memory[0] = run(memory[0])
        return memory[0]

    return program


def _scale(leaves: list, factor: Any) -> tuple:
    return [leaf * factor for leaf in leaves], None


def _copy(pair: tuple, factor: Any) -> tuple:
    # The factor keeps the compiler from copying once for all rounds.
    return (pair[0], _scale(pair[0], factor)[0]), None
