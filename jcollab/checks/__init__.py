"""Checks of arguments, which raise errors of the form ``NAME must be ..., got ...``.

Values that are being traced have no number yet. Their type and shape are checked, their range is
not.
"""

from jcollab.checks.arrays import (
    floats,
    identities,
    integers,
    labels,
    mask,
    members,
    same_shapes,
    seeds,
    texts,
)
from jcollab.checks.numbers import (
    count,
    counts,
    finite,
    number,
    one_of,
    seed,
    traced,
)
from jcollab.checks.partitions import class_counts
from jcollab.checks.parts import (
    described,
    functions,
    key,
    kind,
    optimizers,
    scalar_function,
)

__all__ = [
    "class_counts",
    "count",
    "counts",
    "described",
    "finite",
    "floats",
    "functions",
    "identities",
    "integers",
    "key",
    "kind",
    "labels",
    "mask",
    "members",
    "number",
    "one_of",
    "optimizers",
    "same_shapes",
    "scalar_function",
    "seed",
    "seeds",
    "texts",
    "traced",
]
