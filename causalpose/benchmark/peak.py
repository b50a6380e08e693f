"""How much of this machine's arithmetic a model uses: its operations a second over those of the best matrix product of the same run."""

import pandas as pd
import torch

from causalpose.benchmark.cost import Meter
from causalpose.benchmark.timing import COLUMNS, alternate, row
from causalpose.benchmark.training import stepper
from causalpose.config import preset
from causalpose.model.cmpose import CMPose
from causalpose.training.memory import keep_large_blocks


def peak_benchmark(
    *, name: str = "base", batch: int = 1, matrices: tuple[int, ...] = (1024, 2048, 3072), turns: int = 3, progress=None
) -> pd.DataFrame:
    """Shares of the matrix-multiply peak by inference and by training of a preset's stage 1, float32, as a frame of `COLUMNS`.

    batch     clips
    matrices  sides of the square products, of which the fastest is the peak; they take turns with the model
    Floating-point operations are PyTorch's count, without those of normalisation, softmax and activation functions.
    """
    keep_large_blocks()
    config = preset(name, ["model.stage=1", "model.backbone.drop_path=0.0"]).model
    torch.manual_seed(0)
    frames = torch.rand(batch, config.frames, 3, config.height, config.width)
    model, trained = CMPose(config).eval(), CMPose(config)
    step = stepper(trained, frames)

    @torch.inference_mode()
    def forward() -> None:
        model(frames)

    with torch.no_grad(), Meter() as inference:
        model(frames)
    with Meter() as training:
        step()
    work = {}
    for side in matrices:
        a, b, out = (torch.rand(side, side) for _ in range(3))
        work[f"matrix {side}"] = lambda a=a, b=b, out=out: torch.mm(a, b, out=out)
    seconds = alternate({**work, "forward": forward, "training": step}, turns, progress)
    peak = max(2 * side**3 / seconds[f"matrix {side}"] for side in matrices)
    case = f"{name} {config.height}x{config.width}, T={config.frames}, batch {batch}"
    rows = [row("peak", "matrix product, float32", "peak", peak / 1e9, "GFLOP/s")]
    for what, flops in (("forward", inference.flops), ("training", training.flops)):
        rate = flops / seconds[what]
        rows.append(row("peak", case, f"{what}, share of the peak", 100 * rate / peak, "%"))
        rows.append(row("peak", case, f"{what}, rate", rate / 1e9, "GFLOP/s", peak / 1e9, rate / peak))
    return pd.DataFrame(rows, columns=list(COLUMNS))
