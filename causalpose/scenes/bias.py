"""Biased worlds: a shortcut is planted by letting one cause depend on another (ours).

An edge `child<-parent:p` replaces the child's structural assignment. A coin of the clip's own, which falls on heads with probability `p`,
decides whether the child listens to its parent; on tails it keeps its own draw. Two kinds of edge are known:

    CAUSE<-motion       on heads the cause is the one that belongs to the clip's action: nine fixed draws, the same in every split and
                        every world, so that what a model learned from `train` still tempts it in `test`
    distractors<-pose   a pointed, striped stick stands in every picture; on heads its tip is at the person's right wrist at the target
                        frame, on tails at a place that knows nothing of the person

Coins come from a stream of their own, so a world with an edge differs from the one without in the child alone. An edge is a part of the
model, so it obeys interventions: `do(motion=…)` is answered by a child that listens, and any `do` or `resample` of the child cuts the edge.
"""

import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from causalpose.errors import CausalPoseError
from causalpose.scenes.causes import GRAPH, Stream, cause

_FORM = re.compile(r"\s*(\w+)\s*<-\s*(\w+)\s*:\s*([-+.\w]+)\s*")
_FIXED_SEED = 20250124  # of the draws that belong to the actions
PROP, STRAY = 1.0, 2.0  # `distractors.prop`: at the wrist, elsewhere (0: no stick)


class Edge(NamedTuple):
    """`child` depends on `parent` (the cause `motion`, or the layer `pose`) in a share `probability` of the clips."""

    child: str
    parent: str
    probability: float

    def __str__(self) -> str:
        return f"{self.child}<-{self.parent}:{self.probability:g}"


def parse(text: str) -> tuple[Edge, ...]:
    """Edges from `child<-parent:probability`, several with commas between; the empty text has none."""
    edges = []
    for part in text.split(",") if text.strip() else ():
        found = _FORM.fullmatch(part)
        try:
            probability = float(found[3])
        except (TypeError, ValueError):
            raise CausalPoseError(
                f"bias {part.strip()!r} must have the form child<-parent:probability, e.g. background<-motion:0.9"
            ) from None
        edge = Edge(cause(found[1]).name, found[2], probability)
        if edge.parent not in ("motion", "pose"):
            raise CausalPoseError(f"bias {edge}: nothing can depend on {edge.parent!r}; parents: motion, pose")
        if edge.child == "motion" or edge.parent == "pose" and edge.child != "distractors":
            known = ", ".join(f"{name}<-motion" for name in GRAPH if name != "motion")
            raise CausalPoseError(f"bias {edge}: no such dependence; known: {known}, distractors<-pose")
        if not 0 <= probability <= 1:
            raise CausalPoseError(f"bias {edge}: the probability must be from 0 to 1")
        if edge.child in (other.child for other in edges):
            raise CausalPoseError(f"bias {text!r} gives {edge.child} two parents; name one")
        edges.append(edge)
    return tuple(edges)


def listening(edge: Edge, seed: int, clips: np.ndarray) -> Tensor:
    """bool `[B]`: the clips whose coin fell on heads. A higher probability keeps all the clips of a lower one."""
    return Stream(seed, clips, f"bias.{edge.child}").chance(edge.probability) > 0.5


def apply(
    edge: Edge, own: dict[str, Tensor], motion: dict[str, Tensor], seed: int, clips: np.ndarray, level: str, assign
) -> dict[str, Tensor]:
    """The child's value under an edge. `own` is its draw without the edge, `motion` that of the clip, `assign` the child's assignment."""
    heads = listening(edge, seed, clips)
    if edge.parent == "pose":
        return own | {"prop": torch.where(heads, PROP, STRAY).double()}
    fixed = assign(Stream(_FIXED_SEED, motion["action"].long().numpy(), edge.child), level)
    return {name: torch.where(heads.view(-1, *[1] * (value.ndim - 1)), fixed[name], value) for name, value in own.items()}
