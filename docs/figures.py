"""Draws figures of the concepts and the user guide: ``python docs/figures.py``."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.patches as patches
import numpy as np

import jcollab as jc

IMAGES = pathlib.Path(__file__).parent / "images"
BLUE, RED, GREEN = jc.plots.COLORS[:3]


def weights_after(mixer: jc.Mixer, n: int, rounds: int) -> np.ndarray:
    """Weight of client j's value in that of client i after some exchanges, ``[rounds, n, n]``.

    Every round, each client puts in the same value as in the first one, as with constant updates
    that are averaged: ``x_j`` is the j-th unit vector.
    """
    x, seen, state = jnp.eye(n), [], None
    state = mixer.init(x)
    for t in range(rounds):
        mixed, state = mixer.update(x, state, jc.core.Round(jax.random.key(0), jnp.int32(t)))
        seen.append(np.asarray(mixed))
    return np.stack(seen)


@jc.plots.style()
def mixing() -> Any:
    """Gossip and RelaySum on a chain as matrices of weights."""
    n, times = 8, (1, 3, 7)
    chain = jc.topology.chain(n)
    matrix = jc.topology.mixing_matrix(chain)
    relayed = weights_after(jc.relay_sum(chain, fill="counts"), n, max(times))
    fig, grid = jc.plots.subplots(2, 3, figsize=(8.4, 5.4))
    for row, name in enumerate(("gossip, $W^t$", "RelaySum")):
        for ax, t in zip(grid[row], times, strict=True):
            shown = np.linalg.matrix_power(matrix, t) if row == 0 else relayed[t - 1]
            image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=0.5)
            ax.set(title=f"{name}, t = {t}", xticks=[], yticks=[])
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(True)
    fig.axes[0].set_ylabel("client i")
    fig.axes[3].set(ylabel="client i", xlabel="value of client j")
    fig.colorbar(image, ax=fig.axes, shrink=0.6, label="weight")
    return fig


def box(ax: Any, x: float, y: float, w: float, h: float, text: str, color: str = "white") -> None:
    """A box with a text in the middle."""
    ax.add_patch(patches.FancyBboxPatch((x, y), w, h, "round,pad=0.02", fc=color, ec="#444"))
    ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9)


def arrow(ax: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow between two points."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "#444", "lw": 1.4})


@jc.plots.style()
def one_round() -> Any:
    """What happens in a round, and where the client axis is."""
    fig, ax = jc.plots.subplots(figsize=(9.4, 3.5))
    ax.set(xlim=(0, 9.4), ylim=(0, 3.4))
    ax.axis("off")
    for i in range(4):
        y = 0.55 + 0.62 * i
        shade = ("#dcebf7", "#fbe3d3", "#d5efe6", "#f6e3ee")[i]
        box(ax, 0.1, y, 1.3, 0.4, f"model {i}, batch {i}", shade)
        box(ax, 2.2, y, 1.1, 0.4, f"update {i}", shade)
        box(ax, 4.3, y, 1.5, 0.4, f"inbox {i}: K messages", "#f4f4f4")
        box(ax, 7.6, y, 1.1, 0.4, f"model {i}", shade)
        arrow(ax, (1.45, y + 0.2), (2.15, y + 0.2))
        for j in (i - 1, i + 1):
            if 0 <= j < 4:
                arrow(ax, (3.35, 0.75 + 0.62 * j), (4.25, y + 0.2))
        arrow(ax, (5.85, y + 0.2), (7.55, y + 0.2))
    for x, title in (
        (0.75, "[n, ...]"),
        (2.75, "[n, ...]"),
        (5.05, "[n, K, ...]"),
        (8.15, "[n, ...]"),
    ):
        ax.text(x, 3.12, title, ha="center", family="monospace", fontsize=10)
    for x, title in (
        (1.8, "loss, optimizer,\none client each"),
        (3.8, "topology, channel,\nattack"),
        (6.7, "rule, one\nreceiver each"),
    ):
        ax.text(x, 0.16, title, ha="center", va="center", fontsize=9, color=RED)
    return fig


def partitions() -> Any:
    """Six partitions of the digits over ten clients."""
    labels, n = jc.data.load("digits").y, 10
    parts = {
        "stratified": jc.data.stratified(labels, n),
        "iid": jc.data.iid(len(labels), n),
        "dirichlet, alpha = 1": jc.data.dirichlet(labels, n, 1.0),
        "dirichlet, alpha = 0.1": jc.data.dirichlet(labels, n, 0.1),
        "by_label, 2 shards": jc.data.by_label(labels, n, shards_per_client=2),
        "dirichlet_sizes, alpha = 1": jc.data.dirichlet_sizes(len(labels), n, 1.0),
    }
    return jc.plots.partition(parts, labels)


def main() -> None:
    """Writes the figures."""
    jc.plots.save(partitions(), IMAGES / "partitions.png")
    jc.plots.save(mixing(), IMAGES / "concept_mixing.png")
    jc.plots.save(one_round(), IMAGES / "concept_round.png")


if __name__ == "__main__":
    main()
