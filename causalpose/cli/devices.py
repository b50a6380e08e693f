"""The `--device` option."""

import torch

from causalpose.errors import CausalPoseError


def device(name: str) -> torch.device:
    """A device by name; one that this machine lacks is an error."""
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError):
        raise CausalPoseError(f"--device {name} is not available here; try cpu") from None
    return found
