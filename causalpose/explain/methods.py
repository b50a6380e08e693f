"""Every method of explanation by name, under one call."""

from collections.abc import Sequence

from torch import nn

from causalpose.clip import Clip
from causalpose.errors import CausalPoseError
from causalpose.explain import targets
from causalpose.explain.attributions import FULL, Effort, attribution, every_joint
from causalpose.explain.attributions import METHODS as ATTRIBUTIONS
from causalpose.explain.maps import Map, as_batch, join, pool
from causalpose.explain.tokenmaps import ALL, CONTROLS, TOKEN_MAPS, random

NAMES = (*TOKEN_MAPS, *ATTRIBUTIONS, *CONTROLS)


def explain(model: nn.Module, clip: Clip, joint: str, method: str, *, seed: int = 0, effort: Effort = FULL) -> Map:
    """The map of one method for a joint, or for `all` joints together.

    For `all`, a token map pools as the model does; an attribution explains every joint, and the maps, each scaled to sum one, are averaged.
    """
    check(method, joint, model)
    if method == "random":
        return random(model, clip, joint, seed=seed)
    if method not in ATTRIBUTIONS:
        return (TOKEN_MAPS | CONTROLS)[method](model, clip, joint)
    if joint != ALL:
        return attribution(model, clip, joint, method, seed=seed, effort=effort)
    batch = as_batch(clip)
    pooled = [pool(every_joint(model, batch[b], method, seed=seed, effort=effort)) for b in range(len(batch))]
    return pooled[0] if len(pooled) == 1 else join(pooled)


def check(method: str, joint: str, model: nn.Module) -> None:
    """Refuse unknown methods and joints before anything is computed."""
    if method not in NAMES:
        raise CausalPoseError(f"unknown method {method!r}; methods: {', '.join(NAMES)}")
    if joint != ALL:
        targets.joint_index(model, joint)


def default_methods(stage: int, joint: str = ALL) -> Sequence[str]:
    """What to show where nothing is asked for: the model's own maps, attributions, a control; for `all` joints, the quick ones."""
    own = {0: ("heatmap_mass",), 1: ("heatmap_mass", "encoder_attention"), 2: ("tcis", "heatmap_mass", "encoder_attention")}[stage]
    slow = () if joint == ALL else ("integrated_gradients", "feature_ablation")
    return (*own, "saliency", *slow, "grad_cam", "grad_x_token", "centre")


def possible(stage: int) -> tuple[str, ...]:
    """Every method that a model of the stage can be asked for."""
    lacking = {0: ("tcis", "encoder_attention", "attention_rollout", "gradient_attention"), 1: ("tcis",), 2: ()}[stage]
    return tuple(name for name in NAMES if name not in lacking)
