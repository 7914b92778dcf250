import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from jcollab.layout import compiler


def test_options_are_for_the_outermost_program():
    assert jc.layout.compiler_options() in ({}, compiler.CPU)  # older versions have none
    for transform in (jax.jit, jax.vmap, jax.grad, jax.checkpoint):
        seen = []
        transform(lambda x: (seen.append(jc.layout.compiler_options()), x)[1])(  # noqa: B023
            jnp.ones(2) if transform is jax.vmap else 1.0
        )
        if transform is not jax.checkpoint:
            assert seen == [{}]


def test_an_unknown_option_is_left_out(monkeypatch):
    monkeypatch.setattr(compiler, "CPU", {"xla_cpu_no_such_option": "1"})
    compiler._accepted.cache_clear()
    try:
        assert jc.layout.compiler_options() == {}
    finally:
        compiler._accepted.cache_clear()


def test_a_run_inside_of_another_program_equals_one_outside():
    loss = lambda params, batch, key: 0.5 * jnp.sum((params - batch) ** 2)  # noqa: E731
    algorithm = jc.centralized(loss, optax.sgd(0.5))
    batches, key = jc.data.stacked(jnp.ones((3, 2, 1))), jax.random.key(0)

    def final(start):
        state = algorithm.init(start * jnp.ones((2, 1)))
        return jc.run(algorithm, state, batches, key)[0].shared.params.sum()

    outside = final(0.0)
    np.testing.assert_allclose(outside, 0.875)
    np.testing.assert_allclose(jax.jit(final)(0.0), outside)
    np.testing.assert_allclose(jax.grad(final)(0.0), 0.125)
    np.testing.assert_allclose(final(0.0), outside)
