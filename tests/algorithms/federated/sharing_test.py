"""Clients that share a part of the model, against loops over clients in NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

N, M, D, K, B, H, RATE = 5, 4, 3, 2, 6, 4, 0.05


def problem(seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(N, B, D)), rng.normal(size=(N, B))
    start = {"body": {"w": rng.normal(size=(D, K))}, "head": rng.normal(size=(N, K))}
    return x, y, start


def loss(params, batch, key):
    x, y = batch
    return 0.5 * jnp.mean((x @ params["body"]["w"] @ params["head"] - y) ** 2)


def gradients(w, v, x, y):
    error = (x @ w @ v - y) / B
    return x.T @ error[:, None] @ v[None], w.T @ x.T @ error


def stacked(start):
    return {
        "body": {"w": jnp.asarray(np.stack([start["body"]["w"]] * N))},
        "head": jnp.asarray(start["head"]),
    }


def train(rounds, share, **options):
    x, y, start = problem()
    algorithm = jc.federated(loss, optax.sgd(RATE), local_steps=H, share=share, **options)
    batches = jc.data.full_batch((jnp.asarray(x), jnp.asarray(y)))
    state = algorithm.init(stacked(start))
    return jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=rounds)[0]


def oracle(rounds, personal_steps=None, personal_rate=RATE, body_is_shared=True):
    x, y, start = problem()
    w, heads = start["body"]["w"], start["head"].copy()
    bodies = np.stack([w] * N)
    head = heads.mean(0)
    for _ in range(rounds):
        moves = []
        for i in range(N):
            a, b = (w.copy(), heads[i].copy()) if body_is_shared else (bodies[i], head.copy())
            for k in range(H):
                da, db = gradients(a, b, x[i], y[i])
                in_turn = personal_steps is not None
                first = in_turn and k < personal_steps
                if body_is_shared:
                    a, b = (
                        a - RATE * da * (not first),
                        b - personal_rate * db * (not in_turn or first),
                    )
                else:
                    a, b = a - personal_rate * da, b - RATE * db
            if body_is_shared:
                heads[i] = b
                moves.append(a - w)
            else:
                bodies[i] = a
                moves.append(b - head)
        if body_is_shared:
            w = w + np.mean(moves, 0)
        else:
            head = head + np.mean(moves, 0)
    if body_is_shared:
        return {"body": {"w": np.stack([w] * N)}, "head": heads}
    return {"body": {"w": bodies}, "head": np.stack([head] * N)}


CASES = {
    "FedPer": ("body", {}),
    "FedPer, function": (lambda path, leaf: path == "body/w", {}),
    "FedPer, mask": ({"body": {"w": True}, "head": False}, {}),
    "FedRep": (jc.local.sharing("body", personal_steps=3), {"personal_steps": 3}),
    "FedBABU": (
        jc.local.sharing("body", personal_optimizer=optax.set_to_zero()),
        {"personal_rate": 0.0},
    ),
    "two rates": (
        jc.local.sharing("body", personal_optimizer=optax.sgd(0.2)),
        {"personal_rate": 0.2},
    ),
    "LG-FedAvg": ("head", {"body_is_shared": False}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loop_over_clients(x64, name):
    share, options = CASES[name]
    state = train(6, share)
    chex.assert_trees_all_close(jc.params_of(state), oracle(6, **options), rtol=1e-10, atol=1e-12)


def test_only_sampled_clients_change_their_part(x64):
    state = train(1, "body", num_sampled=2)
    _, _, start = problem()
    changed = (np.asarray(state.clients.personal["head"]) != start["head"]).any(1)
    assert changed.sum() == 2
    assert jc.params_of(state)["body"]["w"].shape == (N, D, K)


def test_methods_correct_what_is_shared_alone(x64):
    """With one local step SCAFFOLD is FedAvg; its memory has no head."""
    x, y, start = problem()
    results = []
    for method in (None, jc.local.scaffold()):
        algorithm = jc.federated(loss, optax.sgd(RATE), share="body", method=method)
        state = algorithm.init(stacked(start))
        if method:
            assert {leaf.shape for leaf in jax.tree.leaves(state.clients.memory)} == {(N, D, K)}
        batches = jc.data.full_batch((jnp.asarray(x), jnp.asarray(y)))
        results.append(jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=5)[0])
    chex.assert_trees_all_close(*map(jc.params_of, results), rtol=1e-9)


@pytest.mark.parametrize(
    "method",
    [
        jc.local.fedprox(0.1),
        jc.local.feddyn(0.1),
        jc.local.fedga(0.01),
        jc.local.scaffold(recomputed=True),
        jc.local.fednova(),
    ],
)
def test_every_method_trains(method):
    state = train(30, "body", method=method, num_sampled=3)
    x, y, start = problem()
    value = jax.vmap(lambda p, x, y: loss(p, (x, y), None))
    before, after = (value(p, x, y).mean() for p in (stacked(start), jc.params_of(state)))
    assert after < 0.7 * before


def test_what_travels_is_the_shared_part():
    """Rules, channels and attacks see messages without the personal leaves."""
    seen = []

    def watch(own, messages, weights, byzantine, context):
        seen.append(jax.tree.map(jnp.shape, messages))
        return messages

    channel = jc.channels.byzantine(watch, jnp.arange(N) == 0)
    train(2, "body", rule=jc.aggregators.coordinate_median(), channel=channel)
    assert seen[0]["head"] is None and seen[0]["body"]["w"][-2:] == (D, K)


def test_kept_states_of_optimizers_and_of_models(x64):
    """Adam has a state for each part; batch statistics stay with the personal part (FedBN)."""
    state = train(2, "body", keep_opt_state=True)
    assert jax.tree.structure(state.clients.opt_state) is not None

    def stateful(params, count, batch, key):
        return loss(params, batch, key), count + 1, {}

    x, y, start = problem()
    algorithm = jc.federated(
        jc.stateful(stateful), optax.adam(RATE), local_steps=H, share="body",
        keep_opt_state=True, model_state="keep",
    )  # fmt: skip
    state = algorithm.init(stacked(start), jnp.zeros(N))
    batches = jc.data.full_batch((jnp.asarray(x), jnp.asarray(y)))
    state, log = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=9)
    assert state.clients.model_state.tolist() == [9 * H] * N
    assert log["loss"][-1] < log["loss"][0]


def test_clients_in_host_memory_resume_and_equal_a_run(tmp_path):
    x, y, start = problem()
    algorithm = jc.federated(loss, optax.sgd(RATE), share="body", num_sampled=2, local_steps=H)
    data = jc.data.by_owner((x.reshape(-1, D), y.reshape(-1)), sizes=[B] * N)
    batches, key = jc.data.minibatches(data, 4), jax.random.key(0)
    whole = jc.run(algorithm, algorithm.init(stacked(start)), batches, key, num_rounds=6)[0]
    options = {"listeners": (), "offload": True}
    options["checkpoint"] = jc.training.Checkpoint(tmp_path)
    for rounds in (3, 6):
        state = algorithm.init(stacked(start))
        result = jc.fit(algorithm, state, batches, key, num_rounds=rounds, **options)
    chex.assert_trees_all_close(result.state.clients, whole.clients, rtol=1e-6)
    tuning = jc.algorithms.fine_tuning(loss, optax.sgd(RATE), n=N)
    chex.assert_trees_all_close(jc.params_of(tuning.init(whole)), jc.params_of(whole))


@pytest.mark.parametrize(
    "share, error, message",
    [
        (3, TypeError, "share must be a function of path and leaf, a path, or a pytree of bools"),
        ("neck", ValueError, r"share must choose at least one of \['body/w', 'head'\], got none"),
        ({"body": True}, ValueError, "share must have the structure of the model"),
        (jc.local.sharing(lambda path, leaf: True, personal_steps=1), ValueError, "got all of the"),
        (lambda path, leaf: 1, TypeError, "share must return bools, got int"),
    ],
)
def test_wrong_selections(share, error, message):
    with pytest.raises(error, match=message):
        train(1, share)


def test_wrong_options():
    with pytest.raises(TypeError, match="personal_optimizer must be"):
        jc.local.sharing("body", personal_optimizer=0.1)
    with pytest.raises(ValueError, match="personal_steps must be at least 0, got -1"):
        jc.local.sharing("body", personal_steps=-1)
