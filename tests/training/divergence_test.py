"""Which clients have models that are not finite."""

import jax.numpy as jnp
import numpy as np

import jcollab as jc
from jcollab.training.divergence import clients_with_bad_models, what_diverged


def state_of(params):
    return jc.State(jc.core.Clients(params, (), (), ()), (), jnp.int32(0))


def test_clients_are_numbered():
    good, bad = jnp.ones((4, 2)), jnp.ones((4, 3)).at[1, 0].set(jnp.nan).at[3, 2].set(jnp.inf)
    assert clients_with_bad_models(state_of({"w": good})) is None
    assert clients_with_bad_models(state_of({"w": good, "b": bad})) == [1, 3]
    replicas = state_of({"b": jnp.stack([jnp.ones((4, 3)), bad])})
    assert clients_with_bad_models(replicas, replicas=True) == [1, 3]


def test_groups_are_not_numbered_and_other_leaves_are_not_looked_at():
    groups = (jnp.ones((2, 3)), jnp.full((3, 1), jnp.nan))
    assert clients_with_bad_models(state_of(groups)) == []
    assert clients_with_bad_models(state_of({"n": jnp.zeros(3, jnp.int32)})) is None
    assert clients_with_bad_models(state_of(())) is None


def test_the_first_bad_metric_is_named_with_its_round():
    log = {"loss": np.array([1.0, np.nan]), "other": np.array([np.inf, 1.0])}
    message = what_diverged(log, state_of(jnp.ones((2, 1))), 6, 9, False)
    assert message == "other is not finite in round 5 of 9"
    bad = state_of(jnp.array([[1.0], [np.nan]]))
    message = what_diverged({"loss": np.ones(2)}, bad, 6, 9, False)
    assert message == "models are not finite after round 6 of 9 (client 1)"
    fine = state_of(jnp.ones((2, 1)))
    assert what_diverged({"loss": np.ones(2)}, fine, 6, 9, False) is None


def test_models_in_host_memory_are_looked_at_row_by_row():
    rows = np.ones((4, 3), np.float32)
    rows[2, 1] = np.inf
    assert clients_with_bad_models(state_of({"w": rows, "n": np.zeros(4, int)})) == [2]
    assert clients_with_bad_models(state_of({"w": rows[:2]})) is None


def test_the_server_and_the_states_of_models_are_looked_at():
    """In a model_state, only NaN is wrong: a running minimum begins with infinity."""

    def message(params=1.0, shared_state=1.0, own=1.0):
        shared = jc.core.Clients(jnp.array([1, params]), {"v": jnp.array(shared_state)}, (), ())
        clients = shared._replace(params=(), model_state=jnp.array([own]))
        return what_diverged({"loss": np.ones(2)}, jc.State(clients, shared, 6), 6, 9, False)

    assert message(shared_state=np.inf, own=-np.inf) is None
    assert message(params=np.inf) == (
        "parameters of the server's model are not finite after round 6 of 9"
    )
    assert message(shared_state=np.nan).startswith("values of the server's model_state are not")
    assert message(own=np.nan).startswith("values of the clients' model_state are not finite")
