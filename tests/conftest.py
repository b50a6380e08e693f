"""Fixtures for every test: fixed seeds, one torch thread, and the way to the real sample data."""

import os
import random
from pathlib import Path

# Two test runs side by side must not fight over cores; set before torch starts its thread pools.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# No test may reach a model hub: what is not on disk is a failure, not a download.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One torch thread: test models are too small to gain from more, and sums stay the same on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The global random streams start the same in every test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real samples: `CAUSALPOSE_DATA`, else `../shared/data` beside the repository. Skips where it is absent."""
    named = os.environ.get("CAUSALPOSE_DATA")
    root = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real sample data at {root if named else '../shared/data'}; set CAUSALPOSE_DATA to its folder")
    return root
