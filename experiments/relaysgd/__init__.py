"""RelaySGD.

Vogels, He, Koloskova, Lin, Karimireddy, Stich, Jaggi: RelaySum for Decentralized Deep Learning on
Heterogeneous Data, NeurIPS 2021.

arXiv: 2110.04175
Import: jc.relay_sum
Preset: fig2
Claim: RelaySGD's steps grow linearly
Notebooks: 00_first_round, 01_topologies
"""
