"""normflows with PyTorch, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import normflows as nf
import torch

VERSIONS = ("normflows", "torch")
torch.set_num_threads(os.cpu_count() or 1)


def glow(
    side: int,
    channels: int,
    levels: int,
    steps: int,
    width: int,
    batch: int,
    rate: float,
    updates: int,
) -> Callable[[], Any]:
    """Builds steps of Adam on the likelihood of images."""
    priors, flows, merges = [], [], []
    for i in range(levels):
        depth, own = levels - i, channels * 2 ** (levels + 1 - i)
        blocks = [nf.flows.GlowBlock(own, width) for _ in range(steps)]
        flows.append([*blocks, nf.flows.Squeeze()])
        kept = own // 2 if i else own
        if i:
            merges.append(nf.flows.Merge())
        priors.append(nf.distributions.DiagGaussian((kept, side >> depth, side >> depth)))
    model = nf.MultiscaleFlow(priors, flows, merges, nf.transforms.Logit(), class_cond=False)
    adam = torch.optim.Adam(model.parameters(), rate, fused=True)
    x = torch.rand(batch, channels, side, side)

    def run() -> None:
        for _ in range(updates):
            adam.zero_grad(set_to_none=True)
            model.forward_kld(x).backward()
            adam.step()

    return run
