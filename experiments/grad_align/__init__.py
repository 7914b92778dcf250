"""Implicit gradient alignment: Dandi, Barba and Jaggi, AAAI 2022 (2106.13897)."""
