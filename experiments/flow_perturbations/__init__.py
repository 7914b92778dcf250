"""Flow perturbations.

Yuksel, Stich, Jaggi, Chavdarova: Semantic Perturbations with Normalizing Flows for Improved
Generalization, ICCV 2021.

arXiv: 2108.07958
Import: jc.flows
Preset: mnist_low_data
Claim: adversarial latent perturbations
Notebooks: 06_flows
"""
