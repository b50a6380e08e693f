"""Which weights a run starts from when none are named (ours)."""

from causalpose import weights
from causalpose.config import Config, differing_keys
from causalpose.errors import CausalPoseError
from causalpose.training import checkpoint

# The shipped weights that stage 1 and stage 2 of the tiny preset build on.
_BELOW = {1: "tiny-backbone", 2: "tiny-stage1"}
# How a part is trained, not what its weights are.
_FREE = ("backbone.drop_path", "backbone.checkpointing", "encoder.checkpointing")


def starting_weights(init: str, config: Config) -> tuple[str | None, str]:
    """Resolve `--init` to (weights or None for nothing, the reason in words).

    `auto`: the shipped weights of the stage below when the preset is `tiny` and their backbone, head and encoder are those of
    `config`; else nothing. `none`: nothing. Anything else is a checkpoint and must exist.
    """
    if init == "none":
        return None, "asked for by --init none"
    if init != "auto":
        checkpoint.locate(init)
        return init, "asked for by --init"
    name = _BELOW.get(config.model.stage)
    if name is None:
        return None, "stage 0 is the first stage"
    if config.preset != "tiny":
        if config.model.stage == 2:
            raise CausalPoseError(f"no stage 1 is shipped for preset {config.preset}, and stage 2 starts from one; give --init RUN")
        return None, f"no weights are shipped for preset {config.preset}; --init names your own"
    if name not in weights.available():
        return None, f"the shipped weights {name} are missing (make weights)"
    _, shipped, _ = checkpoint.read(name)
    shared = ("height", "width", "backbone.", "head.", "keypoints") + (("encoder.", "frames") if config.model.stage == 2 else ())
    differing = [key for key in differing_keys(shipped.model, config.model) if key.startswith(shared) and key not in _FREE]
    if differing:
        return None, f"the shipped weights {name} do not fit (model.{', model.'.join(differing)} differ)"
    return name, f"shipped weights of stage {config.model.stage - 1}; --init none would start from nothing"
