import jax
import jax.numpy as jnp

import jcollab as jc


def test_the_memory_of_a_program():
    def fn(x):
        return jnp.cumsum(x) * 2

    compiled = jax.jit(fn).lower(jnp.zeros(1000)).compile()
    assert 8000 <= jc.layout.memory_of(compiled) <= 40_000
    assert jc.layout.free_memory() is None or jc.layout.free_memory() > 1 << 20
