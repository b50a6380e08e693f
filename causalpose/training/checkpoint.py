"""Checkpoints: `NAME.safetensors` with the weights, and `NAME.json` with the configuration and where the weights come from.

The JSON document also travels in the header of the weights file, which is replaced in one step: the weights and their config
cannot part, and a run killed while saving leaves the old checkpoint or the new one. The `.json` beside it is the same document
for people and for other tools; when someone has edited it, loading says so instead of ignoring the edit. No pickle anywhere.
"""

import json
import os
import platform
import subprocess
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

import causalpose
from causalpose import weights
from causalpose.config import Config, ModelConfig, differing_keys, from_dict, to_dict
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.skeletons import keypoint_set
from causalpose.training import files
from causalpose.weights import fitting, hub, loading
from causalpose.weights.loading import PER_KEYPOINT, Initialised

FORMAT = 1

# What the shapes of weights do not tell, and with another value they load and mean nothing: by where the weights belong.
_SHAPELESS = {
    "backbone.": ("backbone.heads", "backbone.padding"),
    "encoder.": ("encoder.heads",),
    "joint_decoder.": ("encoder.heads",),
    "auxiliary.": ("encoder.heads",),
    "importance.": ("fte.heads",),
    "enhancement.": ("fte.heads",),
}


def locate(path: str | Path) -> Path:
    """The weights file that a path stands for: the file itself, its name without suffix, a folder that holds
    `model.safetensors` (what `train` writes, and Hugging Face too), the name of shipped weights such as `tiny-backbone`, or weights of
    the Hugging Face hub, `hf-hub:OWNER/NAME` (fetched once, then kept)."""
    if hub.is_name(path):
        return hub.fetch(str(path))
    given, path = path, Path(path)
    if path.is_dir():
        if (path / "model.safetensors").is_file():
            return path / "model.safetensors"
        unfinished = (path / "state.safetensors").is_file() or (path / "state-previous.safetensors").is_file()
        remedy = "the run is not finished: go on with --resume" if unfinished else "give the folder of a finished run"
        raise CausalPoseError(f"no model.safetensors in folder {path}; {remedy}")
    if path.suffix == ".json":
        path = path.with_suffix(".safetensors")
    for candidate in (path, path.with_name(path.name + ".safetensors")):
        if candidate.is_file():
            return candidate
    if str(given) in weights.NAMES:
        return weights.path(str(given))
    known = ", ".join(weights.NAMES)
    raise CausalPoseError(f"checkpoint {given} not found; give a run folder, a .safetensors file or shipped weights: {known}")


def save(path: str | Path, model: nn.Module | dict[str, Tensor], config: Config, provenance: dict, *, half: bool = False) -> Path:
    """Write a checkpoint; returns the weights file.

    path        a folder (made if absent; `model.safetensors` inside), or a file name with or without `.safetensors`
    model       the model, or its state dict (an averaged one, say)
    provenance  plain JSON facts; `describe_origin` gives the usual ones
    half        store float16, which halves the size; loading casts back to float32
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        path = path / "model.safetensors" if path.is_dir() or not path.suffix and not path.name.startswith("tiny-") else path
    path = path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = files.portable(model.state_dict() if isinstance(model, nn.Module) else model)
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CausalPoseError(f"refusing to save {path}: tensor {name} holds values that are not finite")
    document = {
        "format": FORMAT,
        "causalpose": causalpose.__version__,
        "config": to_dict(config),
        "provenance": provenance,
        "dtype": "float16" if half else "float32",
        "numbers": sum(tensor.numel() for tensor in tensors.values()),
    }
    # The readable copy goes first and comes back last, so that at no moment a copy lies beside weights it does not describe.
    path.with_suffix(".json").unlink(missing_ok=True)
    files.write_tensors(path, tensors, document)
    files.write_json(path.with_suffix(".json"), document)
    return path


def read(path: str | Path) -> tuple[dict[str, Tensor], Config, dict]:
    """Tensors (float32 where floating), configuration and provenance of a checkpoint, without building the model."""
    path = locate(path)
    if path.suffix in (".pth", ".pt", ".bin"):
        raise CausalPoseError(
            f"{path} is no CausalPose checkpoint but another project's weights; `causalpose train --init` starts from them"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("causalpose")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CausalPoseError(f"checkpoint {path} is truncated or damaged ({error}); copy it again or train it anew") from None
    if header is None:
        raise CausalPoseError(
            f"{path} is a safetensors file but no CausalPose checkpoint: its header holds no configuration (`train --init` takes it)"
        )
    document = json.loads(header)
    if document.get("format") != FORMAT:
        raise CausalPoseError(f"checkpoint {path} has format {document.get('format')!r}; this version of CausalPose reads format {FORMAT}")
    _check_copy(path, document)
    config = from_dict(Config, document["config"], where=f"{path.name}: config")
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return tensors, config, document["provenance"]


def load(path: str | Path, *, expect: ModelConfig | None = None, device: torch.device | str = "cpu") -> tuple[CMPose, Config, dict]:
    """The model (in eval mode, float32), its configuration and its provenance.

    `expect` names what the caller needs: where stage, keypoint set, frames or size differ, the error lists each difference.
    """
    path = locate(path)
    tensors, config, provenance = read(path)
    if expect is not None:
        wrong = {k: v for k, v in differing_keys(config.model, expect).items() if k in ("stage", "keypoints", "frames", "height", "width")}
        if wrong:
            listed = ", ".join(f"{key} is {have!r} and must be {need!r}" for key, (have, need) in wrong.items())
            raise CausalPoseError(f"checkpoint {path} does not fit: {listed}")
    with torch.random.fork_rng(devices=[]):  # building draws initial weights; the caller's random stream stays untouched
        model = CMPose(config.model)
    _check_names(path, model.state_dict(), tensors)
    model.load_state_dict(tensors)
    return model.to(device).eval(), config, provenance


def initialise(model: CMPose, path: str | Path) -> Initialised:
    """Start a model from other weights, matched by name; returns what was used, left aside and started fresh.

    From a checkpoint of this project, usually of a lower stage: a backbone tensor of another shape is an error (another size, patch or
    width is another backbone), and so is what shapes do not tell of a part that goes over (another number of heads, another padding);
    what belongs to single keypoints goes over by their names; other tensors that do not fit are left aside.
    From published weights (timm, MAE, DINO, ViTPose, mmpose, Hugging Face): `causalpose.weights.loading`.
    """
    named, path = str(path), locate(path)
    if not is_own(path):
        return loading.initialise(model, path)
    tensors, config, _ = read(path)
    own = model.state_dict()
    fits, notes = {}, []
    target, source = keypoint_set(model.config.keypoints), keypoint_set(config.model.keypoints)
    for name, tensor in tensors.items():
        if name in PER_KEYPOINT and name in own and target != source:
            rows = tensor.shape[: PER_KEYPOINT[name]] + tensor.shape[PER_KEYPOINT[name] + 1 :]
            if rows == own[name].shape[: PER_KEYPOINT[name]] + own[name].shape[PER_KEYPOINT[name] + 1 :]:
                fits[name], new = fitting.keypoint_rows(own[name], tensor, PER_KEYPOINT[name], target, source)
                notes.append(f"{name} taken over by keypoint{', new: ' + ', '.join(new) if new else ''}")
        elif name in own and own[name].shape == tensor.shape:
            fits[name] = tensor
    skipped = tuple(name for name in tensors if name not in fits)
    backbone = [name for name in own if name.startswith("backbone.") and name not in fits]
    if backbone:
        keys = ("height", "width", "backbone.")
        differing = differing_keys(config.model, model.config)
        reasons = ", ".join(f"model.{k} is {a!r} there and {b!r} here" for k, (a, b) in differing.items() if k.startswith(keys))
        raise CausalPoseError(f"cannot start from {path}: its backbone does not fit at {backbone[0]} ({reasons or 'tensors are missing'})")
    differing = differing_keys(config.model, model.config)
    unlike = {key for part, keys in _SHAPELESS.items() if any(name.startswith(part) for name in fits) for key in keys if key in differing}
    if unlike:
        reasons = ", ".join(f"model.{key} is {differing[key][0]!r} there and {differing[key][1]!r} here" for key in sorted(unlike))
        raise CausalPoseError(f"cannot start from {path}: its weights fit in shape, but mean something else ({reasons})")
    model.load_state_dict(own | fits)
    return Initialised(named, tuple(fits), skipped, tuple(name for name in own if name not in fits), tuple(notes))


def is_own(path: Path) -> bool:
    """Whether a weights file is to be read as a checkpoint of this project: by its header, and where that is damaged by its JSON."""
    try:
        with safe_open(path, framework="pt") as file:
            return "causalpose" in (file.metadata() or {})
    except (SafetensorError, OSError):
        try:
            return path.suffix == ".safetensors" and "causalpose" in json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False


def describe_origin(config: Config, steps: int, **facts: object) -> dict:
    """The usual provenance: seed, steps, versions, machine and commit, then the caller's own facts (metrics, init, seconds)."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else (platform.processor() or platform.machine())
    return {
        "seed": config.train.seed,
        "steps": steps,
        "commit": commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device,
        **facts,
    }


def commit() -> str | None:
    """The git commit of this source tree (`+` when files differ from it); None for an installed package or without git."""
    root = Path(causalpose.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        run = {"cwd": root, "capture_output": True, "text": True, "timeout": 10, "env": {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}}
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **run, check=True).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **run, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _check_copy(path: Path, document: dict) -> None:
    copy = path.with_suffix(".json")
    if not copy.is_file():
        return
    try:
        same = json.loads(copy.read_text(encoding="utf-8"))["config"] == document["config"]
    except (ValueError, KeyError, TypeError):
        raise CausalPoseError(f"{copy} is not the JSON of {path.name}; delete it (the weights file holds its own copy)") from None
    if not same:
        raise CausalPoseError(f"{copy} was edited: its config differs from the one {path.name} was trained with; restore or delete it")


def _check_names(path: Path, own: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    missing, unknown = [n for n in own if n not in found], [n for n in found if n not in own]
    wrong = [n for n in own if n in found and own[n].shape != found[n].shape]
    for names, verb in ((missing, "lacks"), (unknown, "has a surplus of")):
        if names:
            raise CausalPoseError(f"checkpoint {path} {verb} {len(names)} tensors, first {names[0]}; it was made by another version")
    if wrong:
        name = wrong[0]
        shapes = f"{list(found[name].shape)} in the file, {list(own[name].shape)} by its config"
        raise CausalPoseError(f"checkpoint {path}: tensor {name} has the wrong shape ({shapes}); weights and config do not belong together")
