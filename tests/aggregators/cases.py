import jax
import jax.numpy as jnp
import numpy as np

from jcollab import aggregators as ag
from jcollab.core import Receiver
from tests import REFERENCE

KEY = jax.random.key(0)
STORED = np.load(REFERENCE / "clipped_gossip/aggregator_unit_refs.npz")


def loss(params, batch, key):
    return sum(jnp.sum((x - batch) ** 2) for x in jax.tree.leaves(params))


ROBUST = {
    "clip": ag.self_centered_clip(0.7),
    "adaptive clip": ag.self_centered_clip(ag.second_largest_distance()),
    "oracle clip": ag.self_centered_clip(ag.oracle_radius(jnp.arange(9) == 3)),
    "median": ag.coordinate_median(),
    "trimmed mean": ag.trimmed_mean(1),
    "geometric median": ag.geometric_median(),
    "krum": ag.krum(1),
    "multi-krum": ag.multi_krum(1, 2),
    "ubar": ag.ubar(loss, 0.5),
}
RULES = {"weighted": ag.weighted(), **ROBUST}


def case(slots=6, shape=(4,), seed=0):
    rng = np.random.default_rng(seed)
    own = {"a": rng.normal(size=shape), "b": rng.normal(size=(2, 3))}
    messages = {
        "a": rng.normal(size=(slots, *shape)),
        "b": rng.normal(size=(slots, 2, 3)),
    }
    weights = rng.uniform(0.05, 0.12, size=slots)
    return jax.tree.map(jnp.asarray, (own, messages, weights))


def call(rule, own, messages, weights, senders=None, batch=0.0, key=KEY):
    senders = jnp.arange(len(weights)) if senders is None else senders
    context = Receiver(key, step=0, receiver=0, senders=senders, batch=batch)
    return ag.apply(rule, own, messages, weights, context)
