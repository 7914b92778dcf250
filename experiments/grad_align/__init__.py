"""Gradient alignment.

Dandi, Barba, Jaggi: Implicit Gradient Alignment in Distributed and Federated Learning, AAAI 2022.

arXiv: 2106.13897
Import: jc.algorithms.grad_align, jc.local.fedga
Preset: emnist_style
Claim: FedGA with beta = 0.225
Notebooks: 03_many_clients
"""
