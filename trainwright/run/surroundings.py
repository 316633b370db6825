"""What surrounds a run? Random streams of its own, and the versions it is made with."""

import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from trainwright.core.seeds import derive


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Runs on random streams of its own and puts the caller's back."""
    cpu = torch.get_rng_state()
    gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    torch.manual_seed(derive(seed, "train"))
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if gpu is not None:
            torch.cuda.set_rng_state_all(gpu)


@cache
def versions() -> dict[str, str]:
    """What the run was made with, for the report."""
    from importlib.metadata import version

    names = ("trainwright", "torch", "numpy")
    return {name: version(name) for name in names} | {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {socket.gethostname()}",
        "threads": str(torch.get_num_threads()),
    }
