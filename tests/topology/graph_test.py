import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import topology as tp

ALL = [
    tp.chain(7), tp.ring(7), tp.torus(3, 4), tp.star(7), tp.complete(7), tp.binary_tree(7),
    tp.cubic_tree(9), tp.hypercube(8), tp.exponential(7), tp.social_network(), tp.chain(1),
    tp.ring(2), tp.from_networkx(nx.petersen_graph(), "petersen"),
]  # fmt: skip


@pytest.mark.parametrize("topology", ALL, ids=lambda t: f"{t.name}-{t.n}")
def test_tables_agree_with_the_graph(topology):
    n = topology.n
    for i in range(n):
        row = topology.neighbors[i]
        assert row[topology.mask[i]].tolist() == sorted(topology.graph.adj[i])
        assert (row[~topology.mask[i]] == i).all()
        for k in np.flatnonzero(topology.mask[i]):
            assert topology.neighbors[row[k], topology.reverse[i, k]] == i
    matrix = tp.mixing_matrix(topology)
    np.testing.assert_allclose(tp.check_mixing_matrix(matrix), matrix)
    assert topology.is_tree == nx.is_tree(topology.graph)
    lengths = dict(nx.all_pairs_shortest_path_length(topology.graph))
    assert all(topology.distances[i, j] == lengths[i][j] for i in range(n) for j in range(n))


def test_bad_graphs_are_named():
    with pytest.raises(ValueError, match="graph must be connected, got 2 components"):
        tp.from_networkx(nx.Graph([(0, 1), (2, 3)]))
    with pytest.raises(ValueError, match="undirected"):
        tp.from_networkx(nx.DiGraph([(0, 1)]))
    with pytest.raises(ValueError, match=r"self loops, got them at \[0\]"):
        tp.from_networkx(nx.Graph([(0, 1), (0, 0)]))
    with pytest.raises(ValueError, match="at least one node"):
        tp.from_networkx(nx.Graph())
    with pytest.raises(TypeError, match="graph must be a networkx graph, got list"):
        tp.from_networkx([(0, 1)])
    with pytest.raises(ValueError, match="power of two.*got 6"):
        tp.hypercube(6)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        tp.chain(0)
    with pytest.raises(ValueError, match=r"root must be in 0..31, got 32"):
        tp.spanning_tree(tp.social_network(), 32)


def friends(*order):
    graph = nx.Graph()
    graph.add_nodes_from(order)
    graph.add_edges_from([("ann", "bob"), ("ann", "eve"), ("eve", "dan")])
    return graph


def test_clients_keep_their_numbers_or_names_in_any_order():
    graph = nx.Graph([(2, 0), (0, 3), (3, 1)])  # nodes come as 2, 0, 3, 1
    numbered = tp.from_networkx(graph)
    assert numbered.names is None and sorted(numbered.graph.adj[0]) == [2, 3]
    assert sorted(tp.attach_byzantine(graph, [0]).topology.graph.adj[0]) == [2, 3, 4]
    named = tp.from_networkx(friends("eve", "bob", "ann", "dan"))
    assert list(named.names) == ["eve", "bob", "ann", "dan"]
    assert named.neighbors[named.mask].tolist() == [2, 3, 2, 0, 1, 0]
    ordered = tp.from_networkx(friends("eve"), nodes=["ann", "bob", "dan", "eve"])
    assert list(ordered.names) == ["ann", "bob", "dan", "eve"]
    assert ordered.neighbors[0].tolist() == [1, 3]
    assert ordered.numbers("eve").tolist() == [3] and ordered.numbers(["dan", "ann"]).sum() == 2
    made = tp.attach_byzantine(ordered, ["eve", "ann"])
    assert list(made.topology.names)[4:] == ["byzantine 0", "byzantine 1"]
    assert sorted(made.topology.graph.adj[4]) == [3] and sorted(made.topology.graph.adj[5]) == [0]
    ids = tp.from_networkx(nx.Graph([(70, 9), (9, 31)]))
    assert list(ids.names) == [70, 9, 31] and ids.numbers([31]).tolist() == [2]
    assert list(tp.attach_byzantine(ids, [9]).topology.names)[3:] == [71]
    assert list(tp.from_networkx(nx.grid_2d_graph(2, 1)).names) == ["(0, 0)", "(1, 0)"]
    for same in (tp.with_weights(ordered, np.eye(4)), tp.spanning_tree(ordered)):
        assert same.names == ordered.names
    with pytest.raises(ValueError, match=r"hosts must be among Names\('ann', .*\), got 0"):
        tp.attach_byzantine(ordered, [0])
    with pytest.raises(TypeError, match=r"hosts must be integers, got float64"):
        tp.attach_byzantine(numbered, [0.5])
    with pytest.raises(
        ValueError, match=r"nodes must list the nodes of the graph, .*got \['ann', 'bob'\]"
    ):
        tp.from_networkx(friends(), nodes=["ann", "bob"])
    with pytest.raises(TypeError, match="names must be all texts or all integers"):
        tp.Topology(nx.path_graph(2), names=jc.data.Names([0.5, 1.5]))


def test_names_are_drawn():
    axes = tp.draw(friends("eve"), plt.figure().gca(), values=[0, 1, 2, 3])
    assert [text.get_text() for text in axes.texts] == ["eve", "ann", "bob", "dan"]
    graph = nx.Graph([(1, 0), (0, 2)])  # values are by number, not in the order of the graph
    axes = tp.draw(tp.Topology(graph), plt.figure().gca(), values=[5.0, 6.0, 7.0])
    assert axes.collections[0].get_array().tolist() == [5, 6, 7]
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]
    plt.close("all")


def test_weights_of_edges_are_used_or_refused():
    graph = friends("ann", "bob", "eve", "dan")
    for (u, v), weight in zip(graph.edges, (0.5, 0.25, 0.125), strict=True):
        graph.edges[u, v]["weight"] = weight
    for take in (tp.from_networkx, jc.gossip, tp.mixing_matrix, jc.relay_sum):
        with pytest.raises(ValueError, match=r"no edge weights, got \('ann', 'bob', 0.5\)"):
            take(graph)
    weighted = tp.from_networkx(graph, weights="edges")
    expected = [
        [0.25, 0.5, 0.25, 0],
        [0.5, 0.5, 0, 0],
        [0.25, 0, 0.625, 0.125],
        [0, 0, 0.125, 0.875],
    ]
    np.testing.assert_allclose(tp.mixing_matrix(weighted), expected, rtol=1e-12)
    plain = tp.from_networkx(graph, weights="metropolis")
    np.testing.assert_allclose(
        tp.mixing_matrix(plain), tp.mixing_matrix(friends("ann", "bob", "eve"))
    )
    graph.edges["ann", "bob"]["weight"] = 0.9
    with pytest.raises(ValueError, match="must sum to at most 1 at each node, got 1.15 at 'ann'"):
        tp.from_networkx(graph, weights="edges")
    graph.edges["ann", "bob"]["weight"] = -0.1
    with pytest.raises(
        ValueError, match=r"weight of the edge .* must be finite and at least 0, got -"
    ):
        tp.from_networkx(graph, weights="edges")
    del graph.edges["ann", "bob"]["weight"]
    with pytest.raises(
        ValueError, match=r"graph must have a weight on every edge, got none on \('ann', 'bob'\)"
    ):
        tp.from_networkx(graph, weights="edges")
    directed = nx.DiGraph([("a", "b"), ("b", "a")])
    assert list(jc.mixing.push_sum(directed, nodes=["b", "a"]).names) == ["b", "a"]
    directed.edges["a", "b"]["weight"] = 1
    with pytest.raises(ValueError, match=r"graph must have no edge weights, got \('a', 'b', 1"):
        jc.mixing.push_sum(directed)


@pytest.mark.parametrize(
    "graph, message",
    [
        (nx.DiGraph([(0, 1)]), "undirected"),
        (nx.MultiGraph([(0, 1)]), "parallel edges, got a MultiGraph"),
        (nx.Graph([(0, 1), (2, 3)]), "connected, got 2 components"),
        (nx.Graph([(0, 1), (1, 1)]), "self loops"),
        (nx.Graph([("a", "b")]), r"nodes 0..1, got \['a', 'b'\]; from_networkx"),
        (nx.Graph([(1, 2)]), r"nodes 0..1, got \[1, 2\]"),
    ],
)
def test_a_topology_refuses_what_is_no_communication_graph(graph, message):
    with pytest.raises(ValueError, match=f"graph must .*{message}"):
        tp.Topology(graph)


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


TREE = tp.from_networkx(friends(), nodes=["ann", "bob", "eve", "dan"])
MIXERS = {
    "gossip": jc.gossip(TREE),
    "relay_sum": jc.relay_sum(TREE),
    "neighborhood": jc.neighborhood(TREE, jc.aggregators.coordinate_median()),
    "random_peer": jc.mixing.random_peer(TREE),
    "mix_every": jc.mix_every(2, jc.gossip(TREE)),
    "mix_only": jc.mix_only(lambda path, leaf: True, jc.gossip(TREE)),
    "lazy_mixing": jc.mixing.lazy_mixing(jc.gossip(TREE)),
    "interleave": jc.mixing.interleave(jc.all_reduce(), jc.gossip(TREE)),
}


@pytest.mark.parametrize("name", MIXERS)
def test_data_with_other_names_than_the_topology_are_refused(name):
    build = jc.decentralized if name != "mix_every" else jc.algorithms.gradient_tracking
    algorithm = build(loss, optax.sgd(0.1), MIXERS[name])
    algorithm = jc.with_metrics(algorithm, jc.metrics.consensus_distance)
    data = jc.data.from_clients({name: np.ones((2, 2)) for name in ("ann", "bob", "dan", "eve")})
    state, key = algorithm.init(jnp.zeros((4, 2))), jax.random.key(0)
    message = (
        r"Names\('ann', 'bob', 'dan', 'eve'\) and Names\('ann', 'bob', 'eve', 'dan'\), which "
        r"differ at client 2, 'dan' and 'eve'; from_networkx\(graph, nodes=data.names\)"
    )
    with pytest.raises(ValueError, match=message):
        jc.run(algorithm, state, jc.data.minibatches(data, 1), key, num_rounds=1)
    with pytest.raises(ValueError, match=message):
        jc.fit(algorithm, state, jc.data.minibatches(data, 1), key, num_rounds=1, listeners=())


def test_mixers_of_other_clients_are_refused():
    other = jc.gossip(tp.from_networkx(friends("eve")))
    with pytest.raises(ValueError, match="names of one mixer and of another must be the same"):
        jc.mixing.interleave(MIXERS["gossip"], other)


def test_who_diverged_is_named():
    topology = tp.from_networkx(friends(), nodes=["ann", "bob", "dan", "eve"])
    clients = {name: np.full((2, 1), np.inf if name == "dan" else 0.0) for name in topology.names}
    batches = jc.data.minibatches(jc.data.from_clients(clients), 1)
    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.mixing.identity())
    state = algorithm.init(jnp.zeros((4, 1)))
    with pytest.raises(jc.training.Diverged, match=r"round 1 of 1 \(client 2 'dan'\)"):
        jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=1, listeners=())
