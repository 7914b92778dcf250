"""Normalizing flows built with distrax, and perturbations of images in their latent spaces.

No other package of the library imports distrax.
"""

from jcollab.flows import perturb
from jcollab.flows.actnorm import ActNorm
from jcollab.flows.ascent import ascend, lengths, project
from jcollab.flows.conditional_coupling import (
    ConditionalCoupling,
    Permuted,
    conditional_coupling,
    coupling_flow,
    jittered,
)
from jcollab.flows.coupling import AffineCoupling, CouplingNet, coupling
from jcollab.flows.flow import (
    Flow,
    bits_per_dimension,
    condition_of,
    distribution,
    likelihood,
    negative_log_likelihood,
    sample,
)
from jcollab.flows.glow import glow
from jcollab.flows.invertible_convolution import InvertibleConvolution, LUConvolution
from jcollab.flows.preprocess import BoundedLogit
from jcollab.flows.scales import MultiScale, Repeated, Squeezed, squeeze, unsqueeze
from jcollab.flows.torch_weights import (
    conditional_coupling_from_torch,
    coupling_from_torch,
    glow_from_torch,
)

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "BoundedLogit",
    "ConditionalCoupling",
    "CouplingNet",
    "Flow",
    "InvertibleConvolution",
    "LUConvolution",
    "MultiScale",
    "Permuted",
    "Repeated",
    "Squeezed",
    "ascend",
    "bits_per_dimension",
    "condition_of",
    "conditional_coupling",
    "conditional_coupling_from_torch",
    "coupling",
    "coupling_flow",
    "coupling_from_torch",
    "distribution",
    "glow",
    "glow_from_torch",
    "jittered",
    "lengths",
    "likelihood",
    "negative_log_likelihood",
    "perturb",
    "project",
    "sample",
    "squeeze",
    "unsqueeze",
]
