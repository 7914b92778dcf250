import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jcollab.local.schedules import warmup_step_decay


@pytest.mark.parametrize(
    "epoch, share",
    [(0, 0), (2.5, 0.5), (5, 1), (149.99, 1), (150, 0.1), (179.99, 0.1), (180, 0.01), (200, 0.01)],
)
def test_schedule_of_the_paper(epoch, share):
    schedule = warmup_step_decay(0.4, 100)
    for step in (round(100 * epoch), jnp.int32(round(100 * epoch))):
        np.testing.assert_allclose(schedule(step), 0.4 * share, rtol=1e-6)


def test_schedule_reaches_milestones_at_their_first_step():
    for steps_per_epoch in (7, 97, 390):
        schedule = jax.jit(warmup_step_decay(1.0, steps_per_epoch, 0, (3, 11), 0.5))
        steps = np.arange(12 * steps_per_epoch)
        expected = [0.5 ** sum(s >= m * steps_per_epoch for m in (3, 11)) for s in steps]
        np.testing.assert_allclose(schedule(steps), expected, rtol=1e-6)
    part = warmup_step_decay(1.0, 30, 0, (0.1,), 0.5)  # 0.1 * 30 > 3 in floating point
    assert [part(2), part(3)] == [1, 0.5]
    assert warmup_step_decay(2.0, 10, 0, ())(0) == 2


def test_schedule_drives_optax_and_a_sweep():
    optimizer = optax.sgd(warmup_step_decay(1.0, 2, warmup_epochs=2, milestones=(3,)))
    params = jnp.zeros(())
    state = optimizer.init(params)
    taken = []
    for _ in range(7):
        update, state = optimizer.update(jnp.ones(()), state)
        taken.append(-float(update))
    np.testing.assert_allclose(taken, [0, 0.25, 0.5, 0.75, 1, 1, 0.1], rtol=1e-6)
    sweep = jax.vmap(lambda base: warmup_step_decay(base, 2)(5))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(sweep, [0.5, 1.0])


@pytest.mark.parametrize(
    "name, value",
    [
        ("base", 0.0),
        ("base", float("nan")),
        ("steps_per_epoch", 0),
        ("warmup_epochs", -1),
        ("warmup_epochs", float("inf")),
        ("milestones", (180, 150)),
        ("milestones", (-1,)),
        ("factor", 0.0),
        ("factor", float("inf")),
    ],
)
def test_wrong_schedules_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        warmup_step_decay(**{"base": 0.1, "steps_per_epoch": 10, name: value})
