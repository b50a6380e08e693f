"""The folder of a run: begin one, refuse to harm one, or find where to go on.

`config.json` is written at the start, `log.csv` grows, `state.safetensors` is the resumable state, and `model.safetensors` with
`model.json` appear when the run is finished.
"""

import json
import shutil
from pathlib import Path

from causalpose.config import Config, differing_keys, from_dict, to_dict
from causalpose.errors import CausalPoseError
from causalpose.training import files, state

# Keys that change how a run is watched, not what it computes: they may differ between a run and its resumption.
_FREE = ("train.checkpoint_every", "train.log_every", "train.peak_tflops", "train.workers")


def prepare(out: Path, config: Config, facts: dict, *, resume: bool, overwrite: bool) -> bool:
    """Make `out` ready for a run; returns True when the run in it is finished already (and `resume` was asked for).

    `facts` are what, beside the config, decides the run: number of clips, clips per step.
    """
    if out.exists() and not out.is_dir():
        raise CausalPoseError(f"{out} is a file; give a folder for the run")
    # A config alone is a start that came to nothing (weights that did not fit, say): there is nothing to protect or to go on with.
    exists = any((out / name).is_file() for name in ("model.safetensors", "log.csv", state.NEWEST, state.PREVIOUS))
    if exists and overwrite:
        _remove(out)
    elif exists and not resume:
        raise CausalPoseError(f"{out} holds a run already; go on with --resume, replace it with --overwrite, or choose another folder")
    elif exists:
        _check_same(out, config, facts)
        return (out / "model.safetensors").is_file()
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(out / "config.json", {"config": to_dict(config), "facts": facts})
    return False


def recorded(out: Path) -> dict | None:
    """What `config.json` of the run in `out` says (`config`, `facts`); None where there is no run or the file is damaged."""
    try:
        document = json.loads((out / "config.json").read_text(encoding="utf-8"))
        return document if {"config", "facts"} <= document.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _check_same(out: Path, config: Config, facts: dict) -> None:
    document = recorded(out)
    if document is None:
        raise CausalPoseError(f"cannot resume: {out / 'config.json'} is missing or damaged; start anew with --overwrite")
    before, facts_before = from_dict(Config, document["config"], where=str(out / "config.json")), document["facts"]
    changed = {key: values for key, values in differing_keys(before, config).items() if key not in _FREE}
    changed |= {key: (facts_before.get(key), value) for key, value in facts.items() if facts_before.get(key) != value}
    if changed:
        listed = ", ".join(f"{key} was {old!r} and is now {new!r}" for key, (old, new) in changed.items())
        raise CausalPoseError(f"cannot resume {out} with another configuration: {listed}")


def _remove(out: Path) -> None:
    state.clear(out)
    for name in ("model.safetensors", "model.json", "log.csv", "config.json"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
