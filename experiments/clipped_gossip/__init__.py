"""ClippedGossip.

He, Karimireddy, Jaggi: Byzantine-Robust Decentralized Learning via ClippedGossip, 2022.

arXiv: 2202.01545
Import: jc.neighborhood, jc.aggregators, jc.channels.attacks
Preset: consensus
Claim: SCClip: the mean is reached
Notebooks: 02_byzantine_sweep
"""
