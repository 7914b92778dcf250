"""A multi-layer perceptron."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from jcollab import checks


class MLP(nn.Module):
    """Dense layers with an activation between them; the input ``[b, ...]`` is flattened.

    Attributes:
        num_classes: C, width of the output.
        hidden: widths of the hidden layers; an empty sequence gives a linear model.
        activation: function applied after each hidden layer.

    Example:
        >>> model = jc.models.MLP(num_classes=10, hidden=(32,))
        >>> params = model.init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
        >>> model.apply(params, jnp.ones((5, 8, 8, 1))).shape
        (5, 10)
    """

    num_classes: int
    hidden: Sequence[int] = (64,)
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes logits ``[b, C]``."""
        checks.counts(num_classes=self.num_classes)
        checks.integers("hidden", self.hidden, at_least=1)
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
        return nn.Dense(self.num_classes)(x)
