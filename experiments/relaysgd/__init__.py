"""RelaySGD: Vogels, He, Koloskova, Lin, Karimireddy, Stich, Jaggi, NeurIPS 2021 (2110.04175)."""
