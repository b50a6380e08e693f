"""Where a result comes from: code, versions, machine, time."""

import datetime
import hashlib
import platform
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import torch

import causalpose
from causalpose.training import checkpoint

# Parts of the package that draw or take orders but decide no number of a record.
_SILENT = ("plotting", "cli", "explain")
_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "safetensors", "numpy", "pandas", "scipy")


@lru_cache(maxsize=1)
def source_hash() -> str:
    """Twelve hexadecimal digits that name the code which decides numbers: every module but those of plotting, cli and explain.

    Read once a process: what was imported is what runs, whatever is edited meanwhile.
    """
    root = Path(causalpose.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0] not in _SILENT:
            digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


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
