"""Where a result comes from: code, versions, machine, time."""

import datetime
import hashlib
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch

import causalpose
from causalpose.experiments.modules import code_hash
from causalpose.training import checkpoint

# The modules that decide the numbers of a record, with all that they import. What draws, tells or takes orders decides none.
DECIDING = ("causalpose.training.loop", "causalpose.training.sources", "causalpose.experiments.measure")
_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "safetensors", "numpy", "pandas", "scipy")


def source_hash() -> str:
    """Twelve hexadecimal digits that name the code which decides numbers: that of training and of measuring, and all that they import."""
    return code_hash(*DECIDING)


def file_hash(path: Path | str) -> str:
    """Twelve hexadecimal digits of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:12]


def here() -> dict:
    """Facts about the code and the machine, ready for JSON. No host name and no path: they help nobody and belong to somebody."""
    commit = checkpoint.commit()
    return {
        "causalpose": causalpose.__version__,
        "commit": commit.rstrip("+") if commit else None,
        "uncommitted_changes": commit.endswith("+") if commit else None,
        "source_hash": source_hash(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "machine": {
            "system": platform.system(),
            "processor": _processor(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "threads": torch.get_num_threads(),
        },
        "peak_memory_mb": peak_memory(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def peak_memory() -> int | None:
    """Highest resident memory of this process so far, in megabytes (Linux counts kilobytes, macOS bytes); None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
