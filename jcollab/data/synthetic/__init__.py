"""Synthetic problems: quadratics, linear regression, and images with shortcut features."""

from jcollab.data.synthetic.quadratics import (
    Quadratics,
    quadratic_loss,
    random_quadratics,
    suboptimality,
)
from jcollab.data.synthetic.regression import (
    Examples,
    Regression,
    gaussian_regression,
    one_hot_regression,
    regression_loss,
    regression_samples,
    regression_value,
)
from jcollab.data.synthetic.shortcuts import (
    COLORS,
    colored,
    dominoes,
    permute_half,
    slabs,
    stack,
    theorem_cells,
    unlabeled_dominoes,
)

__all__ = [
    "COLORS",
    "Examples",
    "Quadratics",
    "Regression",
    "colored",
    "dominoes",
    "gaussian_regression",
    "one_hot_regression",
    "permute_half",
    "quadratic_loss",
    "random_quadratics",
    "regression_loss",
    "regression_samples",
    "regression_value",
    "slabs",
    "stack",
    "suboptimality",
    "theorem_cells",
    "unlabeled_dominoes",
]
