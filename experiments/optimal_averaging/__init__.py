"""Grimberg, Hartley, Karimireddy, Jaggi: Optimal Model Averaging (2110.12946)."""
