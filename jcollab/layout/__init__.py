"""Placement of the client axis on devices, and execution of work over it.

Algorithms are written for stacked arrays and do not refer to devices. This package determines
whether a function of one client runs as one vectorized program, as a loop, or split over devices
and processes. Results do not depend on that, up to rounding.
"""

from jcollab.layout.chunks import loops, vectorized
from jcollab.layout.clients import client_keys, num_clients, sample_clients
from jcollab.layout.columns import by_columns
from jcollab.layout.compilation_cache import cache_dir, use_compilation_cache
from jcollab.layout.compiler import compiler_options
from jcollab.layout.devices import mesh, place, use
from jcollab.layout.exchange import over_neighbors
from jcollab.layout.execution import client_sum, per_client
from jcollab.layout.kernels import as_written, fast_layers
from jcollab.layout.memory import Forecast, check_memory, forecast, free_memory, memory_of
from jcollab.layout.pmapped import pmap
from jcollab.layout.processes import fetch, from_process_local, initialize, own_clients
from jcollab.layout.replicas import per_replica

__all__ = [
    "Forecast",
    "as_written",
    "by_columns",
    "cache_dir",
    "check_memory",
    "client_keys",
    "client_sum",
    "compiler_options",
    "fast_layers",
    "fetch",
    "forecast",
    "free_memory",
    "from_process_local",
    "initialize",
    "loops",
    "memory_of",
    "mesh",
    "num_clients",
    "over_neighbors",
    "own_clients",
    "per_client",
    "per_replica",
    "place",
    "pmap",
    "sample_clients",
    "use",
    "use_compilation_cache",
    "vectorized",
]
