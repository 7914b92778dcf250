"""Glow: compilation time for two depths, and the cost of an adversarial batch in flow passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from benchmarks.timing import interleaved
from jcollab import flows

BATCH, STEPS, WIDTH, ATTACK_STEPS = 64, 6, 64, 3
SHALLOW, DEEP = 4, 32


def measure() -> list[dict[str, Any]]:
    """Measures the compilation of a training step and the time of one batch of each attack."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(BATCH, 28, 28, 1)), jnp.float32)
    compiled = {steps: _compilation(steps, x) for steps in (SHALLOW, DEEP)}
    programs = _programs(x)
    seconds = interleaved(programs)
    plain = (seconds["encode"] + seconds["decode"]) / 2
    attack = seconds["adversarial"]
    return [
        {
            "case": f"compile a training step, K={DEEP} over K={SHALLOW}",
            "time [s]": compiled[DEEP],
            "ratio": compiled[DEEP] / compiled[SHALLOW],
            "bound": 2,
        },
        {
            "case": f"adversarial batch of {BATCH}, S={ATTACK_STEPS}, over a pass",
            "time [s]": attack,
            "ratio": attack / plain,
            "bound": 2 * ATTACK_STEPS + 2,
        },
        {
            "case": f"randomized batch of {BATCH}, over a pass",
            "time [s]": seconds["randomized"],
            "ratio": seconds["randomized"] / plain,
            "bound": 2,
        },
    ]


def _compilation(steps: int, x: jax.Array) -> float:
    """Measures the seconds to lower and compile the gradient of the likelihood."""
    flow = flows.glow(levels=1, steps=steps, width=WIDTH)
    shapes = jax.eval_shape(lambda: flow.init(jax.random.key(0), x))
    loss = flows.likelihood(flow)
    batch = jc.data.Dataset(x, np.zeros(BATCH, np.int32))
    start = time.perf_counter()
    jax.jit(jax.grad(lambda p: loss(p, batch, jax.random.key(0))[0])).lower(shapes).compile()
    return time.perf_counter() - start


def _programs(x: jax.Array) -> dict[str, Callable[[], Any]]:
    flow = flows.glow(levels=1, steps=STEPS, width=WIDTH)
    key = jax.random.key(0)
    params = flow.init(key, x)
    model = jc.models.MLP(10)
    classifier = model.init(key, x)
    batch = jc.data.Dataset(x, jnp.zeros(BATCH, jnp.int32))
    noise = flow.noise(key, x) if flow.noise else None

    @jax.jit
    def attack(params: Any, batch: Any, classifier: Any, key: jax.Array) -> jax.Array:
        hook = flows.perturb.adversarial(
            model.apply, flow, params, radius=1.0, step_size=0.5, num_steps=ATTACK_STEPS
        )
        return hook(batch, jc.objectives.Model(classifier, ()), key).x

    @jax.jit
    def random(params: Any, batch: Any, key: jax.Array) -> jax.Array:
        return flows.perturb.randomized(flow, params, radius=0.5)(batch, None, key).x

    encode = jax.jit(lambda p, x: flow.encode(p, x, noise)[0])
    decode = jax.jit(flow.decode)
    return {
        "encode": lambda: encode(params, x),
        "decode": lambda: decode(params, x),
        "adversarial": lambda: attack(params, batch, classifier, key),
        "randomized": lambda: random(params, batch, key),
    }
