"""What a model costs, on paper: parameters, floating-point operations, activation memory, and a step's time on a GPU by a roofline.

Nothing is computed: the model and its clips are meta tensors, which have shapes and no numbers, and every operator is metered as it passes.
The rooflines assume that an operator takes as long as its arithmetic or its memory traffic, whichever is longer (Williams et al.,
*Roofline: an insightful visual performance model*, CACM 2009).

Assumptions, all of them: weights and activations in bfloat16; a fused attention kernel, so attention matrices are neither written nor kept;
every other operator reads its inputs from memory and writes its outputs to it, as in eager execution; AdamW moves 28 bytes a parameter
(float32 weight, gradient and two moments, of which three are written too); no communication, no data loading, no launch overhead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from tqdm.auto import tqdm

from causalpose.config import PRESETS, ModelConfig, preset
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.skeletons import keypoint_set

FRAMES = (1, 3, 5, 7)
KEEP_RATES = (0.1, 0.3, 0.5, 1.0)
SIZES = ((256, 192), (384, 288))
ADAMW_BYTES = 28


@dataclass(frozen=True)
class Device:
    """Published peaks: floating-point operations a second of dense bfloat16 matrix products, and bytes a second of memory."""

    name: str
    flops: float
    bandwidth: float
    source: str

    def seconds(self, flops: float, bytes_: float, *, compute: float = 1.0, memory: float = 1.0) -> float:
        """Time of one operator that runs at these shares of the peaks: the longer of arithmetic and memory traffic."""
        return max(flops / (compute * self.flops), bytes_ / (memory * self.bandwidth))


H100 = Device("H100 SXM", 989e12, 3.35e12, "NVIDIA H100 Tensor Core GPU data sheet: SXM5, bfloat16 without sparsity, HBM3")
# Shares of the peaks that one may hope for in practice (ours: large matrix products reach about half of the published peak).
PRACTICE = {"compute": 0.5, "memory": 0.8}


class Meter(TorchDispatchMode):
    """Meters every operator below it: `operators` holds (floating-point operations, bytes of memory traffic).

    attention   lengths of the sequences that attend: a tensor `[…, S, S]` of them is an attention matrix, which a fused kernel keeps on the
                chip, so it moves no bytes
    """

    def __init__(self, attention: Iterable[int] = ()):
        super().__init__()
        self.attention = frozenset(attention)
        self.operators: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        flops = count(*args, **(kwargs or {}), out_val=out) if count else 0
        # A view moves nothing: what it returns is its input under another shape.
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        moved = 0 if view else sum(self.bytes(x) for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor))
        self.operators.append((flops, moved))
        return out

    def bytes(self, tensor: Tensor) -> int:
        """Bytes that a tensor takes in memory, none for an attention matrix."""
        if is_attention(tensor, self.attention):
            return 0
        return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())

    @property
    def flops(self) -> int:
        """All floating-point operations; a multiplication and an addition are two."""
        return sum(flops for flops, _ in self.operators)

    @property
    def traffic(self) -> int:
        """All bytes."""
        return sum(moved for _, moved in self.operators)

    def seconds(self, device: Device, **shares: float) -> float:
        """One operator after the other on a device."""
        return sum(device.seconds(flops, moved, **shares) for flops, moved in self.operators)


class Kept:
    """Context that adds up what the forward pass keeps for the backward pass, each storage once, parameters left out."""

    def __init__(self, parameters: Iterable[Tensor], attention: Iterable[int] = ()):
        self.attention = frozenset(attention)
        self.known = {p.untyped_storage()._cdata for p in parameters}
        self.storages: dict[int, tuple[torch.UntypedStorage, bool]] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            # The storage is held, so that its address is not given to another one.
            matrix = self.storages.get(storage._cdata, (storage, False))[1] or is_attention(tensor, self.attention)
            self.storages[storage._cdata] = (storage, matrix)
        return tensor

    def __enter__(self):
        self._hooks.__enter__()
        return self

    def __exit__(self, *error):
        return self._hooks.__exit__(*error)

    @property
    def bytes(self) -> int:
        """Bytes kept, attention matrices left out."""
        return sum(storage.nbytes() for storage, matrix in self.storages.values() if not matrix)

    @property
    def attention_bytes(self) -> int:
        """Bytes of the attention matrices, which an attention that is written out keeps as well."""
        return sum(storage.nbytes() for storage, matrix in self.storages.values() if matrix)


def is_attention(tensor: Tensor, lengths: frozenset[int]) -> bool:
    """Whether a tensor is a matrix of a sequence of one of these lengths with itself."""
    return tensor.ndim >= 3 and tensor.shape[-1] == tensor.shape[-2] and tensor.shape[-1] in lengths


def attending(config: ModelConfig, keep_rate: float | None = None) -> set[int]:
    """Lengths of the sequences that attend to themselves: a frame, a clip and, in stage 2, keypoint, causal and merged tokens."""
    from causalpose.model.selection import kept_tokens

    rows, columns = config.grid
    N, T, fte = rows * columns, config.frames, config.fte
    lengths = {N} if config.stage == 0 else {N, T * N}
    if config.stage == 2:
        groups = T if fte.ranking == "frame" else 1
        k = groups * kept_tokens(fte.keep_rate if keep_rate is None else keep_rate, T * N // groups)
        lengths.add(len(keypoint_set(config.keypoints)) + k + min(fte.clusters, T * N - k))
    return lengths


def clip_cost(config: ModelConfig, *, batch: int = 1, dtype: torch.dtype = torch.bfloat16, device: Device = H100) -> dict[str, float]:
    """Costs of a clip, metered on meta tensors, as a mapping.

    parameters      of the model
    forward_flops   of inference, a clip
    step_flops      of a training step (forward and backward of all that learns, auxiliary branches included), a clip
    activation_mb   megabytes (10^6 bytes) that a training step keeps between forward and backward, a clip, with a fused attention kernel
    explicit_mb     the same with written-out attention, which keeps its matrices
    forward_ms, step_ms              lower bounds on `device`: every operator at a peak; a clip, at this batch
    forward_practice_ms, step_practice_ms   at the shares of the peaks in `PRACTICE`

    Stage 2's auxiliary loss and the pose loss are left out: they are small.
    """
    lengths = attending(config)
    with torch.device("meta"):
        model = CMPose(config).to(dtype)
        clip = torch.empty(batch, config.frames if config.stage else 1, 3, config.height, config.width, dtype=dtype)
    model.eval()
    with torch.no_grad(), Meter(lengths) as forward:
        model(clip)
    model.train()
    parameters = list(model.parameters())
    with Meter(lengths) as step:
        with Kept(parameters, lengths) as kept:
            output = model(clip)
            parts = [output.heatmaps, *(loss for name, loss in output.losses.items() if name != "target_variance")]
            total = torch.stack([part.float().sum() for part in parts]).sum()
        total.backward()
    count = sum(p.numel() for p in parameters)
    update = ADAMW_BYTES * count
    return {
        "parameters": count,
        "forward_flops": forward.flops / batch,
        "step_flops": step.flops / batch,
        "activation_mb": kept.bytes / batch / 1e6,
        "explicit_mb": (kept.bytes + kept.attention_bytes) / batch / 1e6,
        "forward_ms": 1e3 * forward.seconds(device) / batch,
        "step_ms": 1e3 * (step.seconds(device) + device.seconds(0, update)) / batch,
        "forward_practice_ms": 1e3 * forward.seconds(device, **PRACTICE) / batch,
        "step_practice_ms": 1e3 * (step.seconds(device, **PRACTICE) + device.seconds(0, update, **PRACTICE)) / batch,
    }


def cost_table(
    presets: Sequence[str] = tuple(PRESETS),
    frames: Sequence[int] = FRAMES,
    keep_rates: Sequence[float] = KEEP_RATES,
    sizes: Sequence[tuple[int, int]] = SIZES,
    *,
    batch: int = 8,
    progress: bool = False,
) -> pd.DataFrame:
    """`clip_cost` of stage 2 for every combination, one row each: preset, height, width, frames, keep_rate, then the costs.

    A keep rate of 1 keeps every token: nothing is merged. `tiny` is also metered at its own size.
    """
    if not (presets and frames and keep_rates and sizes):
        raise CausalPoseError("cost_table: give at least one preset, number of frames, keep rate and size")
    cases = []
    for name in presets:
        own = preset(name).model
        for height, width in dict.fromkeys(([(own.height, own.width)] if name == "tiny" else []) + list(sizes)):
            cases += [(name, height, width, length, rate) for length in frames for rate in keep_rates]
    rows = []
    for name, height, width, length, rate in tqdm(cases, desc="cost on paper", unit="model", disable=not progress, leave=False):
        selector = ["model.fte.selector=all"] if rate == 1 else []
        config = preset(name, [
            "model.stage=2", f"model.height={height}", f"model.width={width}", f"model.frames={length}", f"model.fte.keep_rate={rate}",
            *selector,
        ])  # fmt: skip
        key = {"preset": name, "height": height, "width": width, "frames": length, "keep_rate": rate}
        rows.append(key | clip_cost(config.model, batch=batch))
    return pd.DataFrame(rows)


def modules_flops(model: nn.Module, *inputs: Tensor) -> int:
    """Floating-point operations of one forward pass of any module, gradients off; real or meta tensors."""
    with torch.no_grad(), Meter() as meter:
        model(*inputs)
    return meter.flops
