"""The RelaySGD paper: recorded trajectories of the original code, and its invariants."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from tests import REFERENCE

FILES = REFERENCE / "relaysgd"
SUMMARY = json.loads((FILES / "trajectories_n8_d4_summary.json").read_text())
KEY = jax.random.key(0)
LOSS = jc.data.synthetic.quadratic_loss()
tp = jc.topology


def ema_sgd(rate, momentum=0.0):
    """SGD on an exponential moving average of the gradients, as in the original's simulators."""
    return optax.chain(optax.ema(momentum, debias=False), optax.scale(-rate))


def relay(tree, rate, momentum=0.0, **options):
    mixer = {k: v for k, v in options.items() if k in ("fill", "overlap")}
    rest = {k: v for k, v in options.items() if k == "mixing_weight"}
    return jc.decentralized(LOSS, ema_sgd(rate, momentum), jc.relay_sum(tree, **mixer), **rest)


def gossip(topology, rate, momentum=0.0, overlap=False):
    mixer = jc.gossip(topology)
    return jc.decentralized(LOSS, ema_sgd(rate, momentum), mixer, overlap=overlap)


def sgp(rate, rounds):
    return jc.decentralized(LOSS, optax.sgd(rate), jc.mixing.one_peer_exponential(8, rounds=rounds))


CHAIN, TREE, STAR, RING = tp.chain(8), tp.binary_tree(8), tp.star(8), tp.ring(8)
GRAD = {"fill": "zero", "mixing_weight": 0.0}
TRAJECTORIES = {
    "relaysgd_x0fill_chain": lambda r, **k: relay(CHAIN, r),
    "relaysgd_x0fill_tree": lambda r, **k: relay(TREE, r),
    "relaysgd_x0fill_star": lambda r, **k: relay(STAR, r),
    "relaysgd_ownfill_chain": lambda r, **k: relay(CHAIN, r, fill="own"),
    "relaysgd_ownfill_tree": lambda r, **k: relay(TREE, r, fill="own"),
    "relaysgd_overlap_mom0.9_chain": lambda r, **k: relay(CHAIN, r, k["momentum"], overlap=True),
    "relaysgd_grad_chain": lambda r, **k: relay(CHAIN, r, **GRAD),
    "relaysgd_grad_tree": lambda r, **k: relay(TREE, r, **GRAD),
    "relaysgd_grad_overlap_mom0.9_chain": lambda r, **k: relay(
        CHAIN, r, k["momentum"], overlap=True, **GRAD
    ),
    "gossip_ring": lambda r, **k: gossip(RING, r),
    "gossip_ring_mom0.9": lambda r, **k: gossip(RING, r, k["momentum"]),
    "gossip_ring_overlap": lambda r, **k: gossip(RING, r, overlap=k["overlap"]),
    "d2_ring_w0.3233": lambda r, **k: jc.algorithms.d2(
        LOSS, optax.sgd(r), jc.gossip(tp.constant_weights(RING, k["gossip_weight"]))
    ),
    "d2_ring": lambda r, **k: jc.algorithms.d2(LOSS, optax.sgd(r), jc.gossip(RING)),
    "exact_diffusion_ring": lambda r, **k: jc.algorithms.exact_diffusion(
        LOSS, optax.sgd(r), jc.gossip(RING)
    ),
    "exact_diffusion_tree": lambda r, **k: jc.algorithms.exact_diffusion(
        LOSS, optax.sgd(r), jc.gossip(TREE)
    ),
    "gradient_tracking_ring": lambda r, **k: jc.algorithms.gradient_tracking(
        LOSS, optax.sgd(r), jc.gossip(RING)
    ),
    "quasi_global_mom0.9_ring": lambda r, **k: jc.algorithms.quasi_global_momentum(
        LOSS, r, jc.gossip(RING), nesterov=False
    ),
    "all_reduce": lambda r, **k: jc.decentralized(LOSS, optax.sgd(r), jc.all_reduce()),
    "sgp_exponential_2rounds": lambda r, **k: sgp(r, 2),
    "sgp_exponential_1round": lambda r, **k: sgp(r, k["num_communication_rounds"]),
}


def models(algorithm, problem, rounds, start=None):
    """The clients' models before each round and after the last, ``[T + 1, n, d]``."""
    n, _, d = problem.A.shape
    algorithm = jc.with_metrics(algorithm, lambda state: {"x": jc.params_of(state)})
    start = jnp.zeros((n, d)) if start is None else start
    problem = jax.tree.map(jnp.asarray, problem)
    state = algorithm.init(start)
    state, log = jc.run(algorithm, state, jc.data.full_batch(problem), KEY, num_rounds=rounds)
    return np.concatenate([start[None], log["x"]]), state


@pytest.fixture
def stored(x64):
    return np.load(FILES / "trajectories_n8_d4.npz")


def test_every_recorded_trajectory_is_covered():
    assert set(TRAJECTORIES) == set(SUMMARY)


@pytest.mark.parametrize("name", SUMMARY)
@pytest.mark.filterwarnings("ignore:D2 needs")
def test_trajectory_of_the_original(stored, name):
    algorithm = TRAJECTORIES[name](SUMMARY[name]["lr"], **SUMMARY[name]["kwargs"])
    problem = jc.data.synthetic.Quadratics(stored["A"], stored["B"][..., 0])
    x, state = models(algorithm, problem, SUMMARY[name]["steps"])
    np.testing.assert_allclose(x, stored[f"traj__{name}"], atol=1e-10)
    error = jc.data.synthetic.suboptimality(problem)(state)
    np.testing.assert_allclose(error, SUMMARY[name]["final_suboptimality"], rtol=1e-8)


def test_correction_factors():
    with (FILES / "correction_factor.csv").open() as file:
        rows = list(csv.DictReader(file))
    makers = {"chain": tp.chain, "binary_tree": tp.binary_tree, "star": tp.star}
    checked = 0
    for row in rows:
        if row["topology"] in makers:
            tree = makers[row["topology"]](int(row["n"]))
            got = tp.learning_rate_correction(tree)
            assert got == pytest.approx(float(row["correction_simulated"]), abs=1e-6)
            overlapped = tp.learning_rate_correction(tree, overlap=True)
            assert overlapped == pytest.approx(float(row["one_plus_mean_dist"]))
            checked += 1
    assert checked >= 20
    with pytest.raises(ValueError, match="must be a tree"):
        tp.learning_rate_correction(RING)


def delay_matrix(tree):
    """One round on the history of all models, with the delays ``d_ij`` of the overlapped form.

    Rows and columns run over (age k, client i), k = 0..diameter: the newest block averages
    ``x_j`` of age ``d_ij`` with weight 1/n, every other block moves one age on. The matrix is
    row-stochastic, ``[(diameter + 1) n, (diameter + 1) n]``.
    """
    n, ages = tree.n, tree.diameter + 1
    matrix = np.zeros((ages, n, ages, n))
    for age in range(ages - 1):
        matrix[age + 1, :, age, :] = np.eye(n)
    i, j = np.indices((n, n))
    matrix[0, i, tree.distances, j] = 1 / n
    return matrix.reshape(ages * n, ages * n)


def smallest_rho(tree):
    """The m and p with the smallest ``rho = m / p`` such that, for all X,

        || (W^m - W^inf) X ||^2 <= (1 - p)^{2m} || (W - W^inf) X ||^2 in spectral norms.

    Returns:
        m, p and m / p. As in the original, p must lie below the second largest modulus of an
        eigenvalue, and the search over m stops ten values after the best one.

    Source: Vogels et al. 2021, arXiv 2110.04175, appendix.
    """
    matrix = delay_matrix(tree)
    limit = matrix
    for _ in range(20):
        limit = limit @ limit
    second = np.sort(np.abs(np.linalg.eigvals(matrix)))[-2]
    scale = np.linalg.norm(matrix - limit, 2) ** 2
    best, worse, power = (0, 0.0, np.inf), 0, np.eye(len(matrix))
    for m in range(1, 100):
        power = power @ matrix
        ratio = np.linalg.norm(power - limit, 2) ** 2 / scale
        p = 1 - ratio ** (1 / (2 * m))
        if ratio >= 1 or p >= second:
            continue
        if m / p < best[2]:
            best = (m, float(p), float(m / p))
        else:
            worse += 1
            if worse > 10:
                break
    return best


def test_constants_of_the_theory():
    with (FILES / "fig5_m_over_p.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["n"]) <= 8]
    makers = {"chain": tp.chain, "tree": tp.binary_tree, "star": tp.star}
    assert len(rows) >= 12
    for row in rows:
        m, p, rho = smallest_rho(makers[row["topology"]](int(row["n"])))
        assert m == int(row["m"])
        assert (p, rho) == pytest.approx((float(row["p"]), float(row["m_over_p"])), rel=1e-8)


TREES = [CHAIN, TREE, STAR, tp.spanning_tree(tp.social_network(), 3)]


def delays(tree):
    return np.maximum(tree.distances - 1, 0)


@pytest.mark.parametrize("tree", TREES, ids=lambda t: f"{t.name}-{t.n}")
def test_conserved_quantity_and_consensus_limit(x64, tree):
    """Q_t = sum_j sum_k (#{i: D_ij >= k} / n) y_j(t-k) grows by the sum of all updates."""
    n, rounds, moving = tree.n, 60, 10
    rng = np.random.default_rng(0)
    updates = rng.normal(size=(rounds, n, 2)) * (np.arange(rounds) < moving)[:, None, None]
    start = np.broadcast_to(rng.normal(size=2), (n, 2))
    mixer, x = jc.relay_sum(tree), jnp.asarray(start)
    state = mixer.init(x)
    half, counts = [], []
    update = jax.jit(lambda x, s: mixer.update(x, s, jc.core.Round(KEY, 0)))
    for u in updates:
        half.append(np.asarray(x + u))
        x, state = update(x + u, state)
        counts.append(1 + np.asarray(state.counts.sum(1)))
    d = delays(tree)
    share = [(d >= k).sum(0) / n for k in range(d.max() + 1)]

    def conserved(t):
        past = [half[t - k] if t >= k else start for k in range(len(share))]
        return sum(s @ y for s, y in zip(share, past, strict=True))

    growth = [conserved(t + 1) - conserved(t) for t in range(20)]
    np.testing.assert_allclose(growth, updates[1:21].sum(1), atol=1e-12)
    for t in range(rounds):
        np.testing.assert_array_equal(counts[t], (d <= t).sum(1))
    correction = tp.learning_rate_correction(tree)
    limit = start[0] + updates.sum((0, 1)) / (n * correction)
    x, _ = jax.lax.fori_loop(0, 3000, lambda _, carry: update(*carry), (x, state))
    np.testing.assert_allclose(x, np.broadcast_to(limit, (n, 2)), atol=1e-9)


def test_grad_form_agrees_exactly_once_updates_stop(x64):
    """RelaySGD/Grad conserves the sum of updates, and all models are equal tau rounds later."""
    mixer = jc.relay_sum(CHAIN, fill="zero")
    updates = np.random.default_rng(0).normal(size=(5, 8, 2))
    x, state = jnp.zeros((8, 2)), mixer.init(jnp.zeros((8, 2)))
    for u in [*updates, *np.zeros((6, 8, 2))]:
        mixed, state = mixer.update(jnp.asarray(u), state, jc.core.Round(KEY, 0))
        x = x + mixed
    np.testing.assert_allclose(x, np.broadcast_to(updates.sum((0, 1)) / 8, (8, 2)), atol=1e-12)


def test_d2_warns_of_a_matrix_at_its_limit():
    with pytest.warns(UserWarning, match="smallest eigenvalue above -1/3, this one has -0.3333"):
        jc.algorithms.d2(LOSS, optax.sgd(0.1), jc.gossip(RING)).init(jnp.zeros((8, 2)))


def test_heterogeneity_does_not_slow_relaysgd_down(x64):
    """The error after 60 rounds is the same for clients that agree and that do not."""

    def error(build, zeta2):
        problem = jc.data.synthetic.random_quadratics(8, 4, zeta2=zeta2, seed=0)
        _, state = models(build, problem, 60)
        return float(jc.data.synthetic.suboptimality(problem)(state))

    assert error(relay(CHAIN, 0.8), 1.0) < 1e-6
    assert error(gossip(RING, 0.8), 1.0) > 1e-3


def test_d2_bears_lost_messages():
    """One draw of a lossy mixer is no symmetric matrix; that of a directed one is refused."""
    ring, weighted = jc.topology.ring(4), jc.aggregators.weighted()
    x = jnp.zeros((4, 1))
    for channel in (None, jc.channels.drop(0.5)):
        mixer = jc.neighborhood(ring, weighted, channel)
        jc.algorithms.d2(lambda p, b, k: jnp.sum(p), optax.sgd(0.1), mixer).init(x)
    with pytest.raises(ValueError, match="mixer must average with a symmetric matrix"):
        directed = jc.mixing.one_peer_exponential(4)
        jc.algorithms.d2(lambda p, b, k: jnp.sum(p), optax.sgd(0.1), directed).init(x)
