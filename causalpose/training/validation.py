"""A quick measure on held-out clips during training: PCK@0.2 at the target frame, without flip test.

The full evaluation, by condition and joint, is `causalpose.evaluation`; this is the one number of the log.
"""

import torch
from accelerate import Accelerator

from causalpose.config import Config
from causalpose.model.cmpose import CMPose
from causalpose.training.objective import correct_share
from causalpose.training.truth import body_share


@torch.no_grad()
def validate(model: CMPose, source, config: Config, accelerator: Accelerator, batch: int = 64) -> float:
    """PCK@0.2 in per cent over all clips of a source, each batch weighted by its clips. The model must be in eval mode.

    Every process calls it, measures its share of the batches, and gets the value of all: none waits for one that does all the work.
    """
    device, world = accelerator.device, accelerator.num_processes
    oracle = config.model.stage == 2 and config.model.fte.selector == "oracle"
    total = 0.0
    for start in range(0, len(source), batch)[accelerator.process_index :: world]:
        clip = source.batch(torch.arange(start, min(start + batch, len(source)))).to(device)
        output = model(clip.frames, truth=body_share(clip, config.model) if oracle else None)
        total += correct_share(output, clip, config).item() * len(clip)
    if world > 1:
        total = accelerator.reduce(torch.tensor(total, device=device), "sum").item()
    return total / len(source)
