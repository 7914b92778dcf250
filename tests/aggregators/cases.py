import jax
import jax.numpy as jnp
import numpy as np

from jcollab import aggregators as ag
from tests import REFERENCE

STORED = np.load(REFERENCE / "clipped_gossip/aggregator_unit_refs.npz")


def loss(params, batch, key):
    return jnp.sum((params - batch) ** 2)


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
    received = {
        "a": rng.normal(size=(slots, *shape)),
        "b": rng.normal(size=(slots, 2, 3)),
    }
    weights = rng.uniform(0.05, 0.12, size=slots)
    return jax.tree.map(jnp.asarray, (own, received, weights))


def call(rule, own, received, weights, senders=None, batch=0.0, **context):
    senders = jnp.arange(len(weights)) if senders is None else senders
    if rule is RULES["ubar"]:
        rule = ag.ubar(lambda p, b, k: sum(jnp.sum(x**2) for x in jax.tree.leaves(p)), 0.5)
    context = {"key": jax.random.key(0), "step": 0, "receiver": 0, **context}
    return ag.apply(rule, own, received, weights, senders=senders, batch=batch, **context)
