"""Forward-mode derivatives against reverse mode, in float64 and in one program."""

import jax
import jax.numpy as jnp
import numpy as np


def check_derivatives(function, *arguments, rtol=1e-9):
    """``function(*arguments)`` is any pytree of floats; the arguments are pytrees of float64.

    Slopes along several directions at once (as ``jax.jacfwd`` takes them) are what the gradient
    gives, and the product of the Hessian with a direction is the same forward over reverse and
    reverse over forward.
    """
    rng = np.random.default_rng(0)
    arguments = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), arguments)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), arguments)

    def scalar(arguments):
        outputs = jax.tree.leaves(function(*arguments))
        assert all(leaf.dtype == jnp.float64 for leaf in outputs)
        scales = (jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape) for leaf in outputs)
        return sum((jnp.sin(leaf) * s).mean() for leaf, s in zip(outputs, scales, strict=True))

    @jax.jit
    def everything(arguments):
        gradient, product = jax.jvp(jax.grad(scalar), (arguments,), (direction,))
        _, linear = jax.linearize(lambda a: jax.jvp(scalar, (a,), (direction,))[1], arguments)
        some = jax.tree.map(lambda leaf: jnp.stack([leaf, -2 * leaf]), direction)
        slopes = jax.vmap(lambda d: jax.jvp(scalar, (arguments,), (d,))[1])(some)
        return gradient, slopes, product, jax.linear_transpose(linear, arguments)(1.0)[0]

    gradient, slopes, *products = everything(arguments)
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    expected = sum(float(jnp.vdot(a, b)) for a, b in pairs)
    assert expected != 0
    np.testing.assert_allclose(slopes, [expected, -2 * expected], rtol=rtol)
    forward, backward = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(p)]) for p in products
    )
    scale = np.abs(backward).max()
    assert scale > 0
    np.testing.assert_allclose(forward, backward, rtol=rtol, atol=rtol * scale)
