"""Critical parameters.

Stich, Mohtashami, Jaggi: Critical Parameters for Scalable Distributed Learning with Large Batches
and Asynchronous Updates, AISTATS 2021.

arXiv: 2103.02351
Import: jc.noise_scale, jc.second_moments
Preset: batch
Claim: T1b, log-spaced: largest speed-up
"""
