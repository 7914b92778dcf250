"""Optimal averaging.

Grimberg, Hartley, Karimireddy, Jaggi: Optimal Model Averaging: Towards Personalized Collaborative
Learning, FL-ICML 2021.

arXiv: 2110.12946
Import: jc.theory.averaging, jc.personal_average
Preset: parabola
Claim: the measured benefit over the best one
"""
