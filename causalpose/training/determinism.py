"""`train.deterministic`: the same bits every time, also on a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Inside, PyTorch takes deterministic kernels only (an operation that has none raises) and cuDNN does not try kernels out.

    On a CPU a run repeats bit for bit anyway, given the same number of threads. Everything is as before afterwards.
    """
    if not wanted:
        yield
        return
    # cuBLAS reads this when it starts; it needs a workspace of its own to always split its sums alike.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(), cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark = before[2]
