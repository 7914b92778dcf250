"""Representation sharing.

Berdoz, Singh, Jaggi, Raskar: Scalable Collaborative Learning via Representation Sharing, 2022.

arXiv: 2211.10943
Import: jc.representation_sharing
Preset: mnist
Claim: N=10: ours reaches
Notebooks: 05_share_representations
"""
