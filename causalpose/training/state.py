"""The resumable state of a run: weights, optimiser moments, average and step in one safetensors file, replaced in one step.

Randomness is stateless (`causalpose.training.randomness`), so nothing else is needed to go on bit for bit. The state before the
last is kept as `state-previous.safetensors`: should the disk damage the newest, the run goes on from the one before.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from causalpose.errors import CausalPoseError
from causalpose.training import files
from causalpose.training.averaging import Average

NEWEST, PREVIOUS = "state.safetensors", "state-previous.safetensors"


def write(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: Average, document: dict) -> None:
    """Save the state; `document` (step, config, running sums) is JSON in the file's header."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.values.items()}
    for parameter, moments in optimiser.state.items():
        tensors |= {f"optimiser.{key}.{names[id(parameter)]}": value for key, value in moments.items()}
    newest = folder / NEWEST
    if newest.exists():
        os.replace(newest, folder / PREVIOUS)
    files.write_tensors(newest, files.portable(tensors), document)


def read(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and document of the newest sound state; None when the run was cut off before its first."""
    faults = []
    for name in (NEWEST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            with safe_open(path, framework="pt") as file:
                document = json.loads(file.metadata()["causalpose"])
                return {key: file.get_tensor(key) for key in file.keys()}, document
        except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
            faults.append(f"{path} ({error})")
    if faults:
        raise CausalPoseError(f"no sound state to resume from: {'; '.join(faults)}; start anew with --overwrite")
    return None


def restore(tensors: dict[str, Tensor], model: nn.Module, optimiser: torch.optim.Optimizer, average: Average) -> None:
    """Put a state back. Moments are copied into tensors laid out like their parameters, as an unbroken run has them."""
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
    for key, tensor in tensors.items():
        group, _, name = key.partition(".")
        groups[group][name] = tensor
    model.load_state_dict(groups["model"])
    for name, value in average.values.items():
        value.copy_(groups["average"][name])
    parameters = dict(model.named_parameters())
    optimiser.state.clear()
    for key, tensor in groups["optimiser"].items():
        moment, _, name = key.partition(".")
        parameter = parameters[name]
        value = tensor.to(parameter.device) if tensor.ndim == 0 else torch.empty_like(parameter).copy_(tensor)
        optimiser.state[parameter][moment] = value


def clear(folder: Path) -> None:
    """Remove the states of a finished run."""
    for name in (NEWEST, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
