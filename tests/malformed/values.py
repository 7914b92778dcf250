"""What must not be accepted, and the parts that the calls share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

import jcollab as jc

below = lambda low: st.integers(-(10**6), low - 1)  # noqa: E731
negative = st.floats(max_value=-1e-6, allow_nan=False) | st.just(float("nan"))
not_positive = negative | st.just(0.0)
not_count = below(1) | st.floats(0.1, 9.9).filter(lambda x: x % 1) | st.just(True) | st.just("2")
not_seed = st.integers(-9, -1) | st.integers(2**32, 2**40) | st.just(1.5)
zeros_and_ones = st.sampled_from([[0, 0, 1, 1], [1, 0, 1, 1], np.array([0, 1, 1, 0])])
no_clients = zeros_and_ones | st.sampled_from(
    [[4], [-1], [0.5], "all", np.ones(5, bool), np.ones((2, 2), bool), [1, 1]]
)
not_share = st.floats(max_value=-1e-6) | st.floats(min_value=1.001) | st.just(float("nan"))
words = st.text("abcxyz_", min_size=1, max_size=8).map(lambda word: f"no {word}")
no_selection = st.one_of(st.integers(), st.none(), st.lists(st.integers()))
no_function = st.one_of(st.integers(), st.just("loss"), st.none(), st.lists(st.integers()))
matrices = st.integers(2, 5).flatmap(
    lambda n: st.sampled_from(
        [
            np.ones((n, n)),  # rows do not add up to 1
            np.full((n, n), np.nan),
            np.ones((n, n + 1)) / n,
            np.ones(n),
            np.eye(n) - np.eye(n, k=1) + np.eye(n, k=2),
        ]
    )
)
KEY, TOPOLOGY = jax.random.key(0), jc.topology.ring(4)
LABELS = np.arange(20) % 4
DATA = jc.data.by_client(np.arange(8.0)[:, None], jc.data.iid(8, 4))
RULE, MIXER = jc.aggregators.weighted(), jc.gossip(TOPOLOGY)


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


ASYNCHRONOUS = jc.algorithms.asynchronous(loss, optax.sgd(0.1), [0, 1, 0])
PIECES = jc.text.train_subwords(["a cat sat on a mat"], size=30)
ALGORITHM = jc.decentralized(loss, optax.sgd(0.1), MIXER)
START = ALGORITHM.init(jnp.zeros((4, 1)))


def fit(**options):
    options = {"num_rounds": 2, "listeners": ()} | options
    return jc.fit(ALGORITHM, START, jc.data.stacked(jnp.zeros((2, 4, 1))), KEY, **options)
