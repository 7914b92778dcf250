"""Programs that compute the workloads, one file each, with this library and with its peers.

A file defines functions that are named like the kinds of :mod:`benchmarks.cases`. Each takes the
sizes of a case, and returns a function that computes it once, or None if it cannot. A file may also
define ``close()``, which is called at the end. ``NAME.txt`` contains the pinned requirements of
``NAME.py`` and of every ``NAME_*.py``; files without one run in the current environment. Names that
start with an underscore are modules that programs share.
"""
