"""Drawings of graphs."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np

from jcollab.topology.graph import Topology, as_topology


def draw(
    topology: Topology | nx.Graph,
    ax: Any = None,
    values: Any = None,
    positions: Any = None,
    **kwargs: Any,
) -> Any:
    """Draws the graph, labeled with the names of clients or else their indices.

    Args:
        topology: a topology.
        ax: matplotlib axes; None for the current ones.
        values: one number or color per client, ``[n]``.
        positions: ``[n, 2]``; None for :func:`layout_positions`.
        **kwargs: further arguments of ``networkx.draw_networkx``.

    Returns:
        The axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if the number of values is not n.

    Example:
        >>> ax = jc.topology.draw(jc.topology.ring(3), jc.plots.figure().gca())
        >>> [text.get_text() for text in ax.texts]
        ['0', '1', '2']
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('draw needs matplotlib: pip install "jax-collab[experiments]"') from error

    topology = as_topology(topology)
    if values is not None and not isinstance(values, str) and len(values) != topology.n:
        raise ValueError(
            f"values must have one entry for each of the n={topology.n} clients, got {len(values)}"
        )
    ax = ax or plt.gca()
    style = {"node_color": "#4c78a8" if values is None else values, "edge_color": "#9aa0a6"}
    style |= {"node_size": 180, "font_size": 7, "font_color": "white", "linewidths": 0}
    places = layout_positions(topology) if positions is None else positions
    where = dict(enumerate(places))
    labels = dict(enumerate(range(topology.n) if topology.names is None else topology.names))
    style |= {"nodelist": range(topology.n), "labels": labels}  # values are by index
    nx.draw_networkx(topology.graph, where, ax=ax, **(style | kwargs))
    ax.set_axis_off()
    return ax


def layout_positions(topology: Topology | nx.Graph) -> np.ndarray:
    """Computes the positions of nodes in a drawing, with a layout that suits the kind of graph.

    Args:
        topology: a topology.

    Returns:
        Coordinates ``[n, 2]``.

    Example:
        >>> jc.topology.layout_positions(jc.topology.chain(3)).tolist()
        [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    topology = as_topology(topology)
    where = _positions(topology)
    return np.array([where[node] for node in range(topology.n)], float)


def _positions(topology: Topology) -> dict[int, Any]:
    if topology.is_tree and topology.degrees.max() <= 2:
        order = list(nx.dfs_preorder_nodes(topology.graph, int(topology.degrees.argmin())))
        # A row for every `width` nodes, in alternating directions, keeps long chains readable.
        width = int(np.ceil(np.sqrt(2 * topology.n)))
        grid = [(i % width, -(i // width)) for i in range(topology.n)]
        return {
            node: np.array([width - 1 - x if y % 2 else x, y], float)
            for node, (x, y) in zip(order, grid, strict=True)
        }
    if topology.is_tree:
        return nx.bfs_layout(topology.graph, nx.center(topology.graph)[0], align="horizontal")
    if topology.name == "ring" or topology.n <= 32:
        return nx.circular_layout(topology.graph)
    return nx.kamada_kawai_layout(topology.graph)
