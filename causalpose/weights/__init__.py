"""The shipped weights: where they lie, by name.

`tiny-backbone` is the single-frame pose model (stage 0) pretrained on scenes; `tiny-stage1` and `tiny-stage2` start from it in
turn. `tiny-backbone-b` is the first one's twin from other seeds, so that studies can vary the pretraining too.
`make weights` made them; the `.json` beside each says with which configuration, seed, steps and versions.
"""

from pathlib import Path

from causalpose.errors import CausalPoseError

NAMES = ("tiny-backbone", "tiny-backbone-b", "tiny-stage1", "tiny-stage2")
FOLDER = Path(__file__).parent


def available() -> tuple[str, ...]:
    """Names of the shipped weights that are present."""
    return tuple(name for name in NAMES if (FOLDER / f"{name}.safetensors").is_file())


def path(name: str) -> Path:
    """The `.safetensors` file of shipped weights."""
    if name not in NAMES:
        raise CausalPoseError(f"unknown weights {name!r}; known: {', '.join(NAMES)}")
    file = FOLDER / f"{name}.safetensors"
    if not file.is_file():
        raise CausalPoseError(f"shipped weights {name} are missing ({file}); `make weights` trains them (hours on two CPU cores)")
    return file
