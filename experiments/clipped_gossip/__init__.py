"""ClippedGossip: He, Karimireddy, Jaggi: Byzantine-Robust Decentralized Learning (2202.01545)."""
