"""Benchmarks of speed, reported as ratios within one run because times depend on the machine."""
