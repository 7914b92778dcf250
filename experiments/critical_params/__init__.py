"""Critical parameters.

Stich, Mohtashami, Jaggi: Critical Parameters for Scalable Distributed Learning with Large Batches
and Asynchronous Updates, AISTATS 2021.

arXiv: 2103.02351
Import: jc.theory.noise_scale, jc.theory.second_moments
Preset: batch
Claim: T1b, log-spaced: largest speed-up
"""
