"""This library with each core as a device, over which the client axis is split."""

from __future__ import annotations

import os

import jax

from benchmarks.peers import jcollab

VERSIONS = jcollab.VERSIONS
jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

federated, gossip = jcollab.federated, jcollab.gossip
attention, diloco = jcollab.attention, jcollab.diloco
