import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest

from jcollab import topology as tp

ALL = [
    tp.chain(7), tp.ring(7), tp.torus(3, 4), tp.star(7), tp.complete(7), tp.binary_tree(7),
    tp.cubic_tree(9), tp.hypercube(8), tp.exponential(7), tp.social_network(), tp.chain(1),
    tp.ring(2), tp.from_networkx(nx.petersen_graph(), "petersen"),
]  # fmt: skip


@pytest.mark.parametrize("topology", [*ALL[:9], tp.torus(6, 6)], ids=lambda t: t.name)
def test_draw(topology):
    axes = tp.draw(topology, plt.figure().gca(), values=np.arange(topology.n))
    assert len(axes.collections) == 2  # nodes and edges
    plt.close("all")
