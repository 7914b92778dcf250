"""Cross-lingual sentence encoders (Mao et al. 2021)."""
