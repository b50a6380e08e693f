"""The training loop.

One optimiser step is `world · accumulate` shards of `train.batch` clips. Which clips a shard holds, how they are augmented and
what is masked is a function of `(seed, step, shard)` alone (`randomness`), so that

- a run killed at any moment and resumed ends bit for bit as an unbroken one (on a CPU with the same number of threads),
- two processes with one shard each compute what one process computes with `accumulate=2`,
- and both compute what one large batch does, since every loss is a mean over the whole step: a shard with few labelled joints counts
  less (but for what a shard draws for itself, such as the tokens that `fte.supervision = effects` replaces by those of the shard's other
  clips and the effects' mean square it divides by, and for BatchNorm, which sees its shard, or on GPUs all that run at once).
"""

import time
from collections import defaultdict
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from torch import Tensor
from tqdm.auto import tqdm

from causalpose.clip import Clip
from causalpose.config import Config
from causalpose.data.augment import augment
from causalpose.errors import CausalPoseError
from causalpose.model import heatmaps
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint, folder, labels, optimiser, randomness, state, tokens
from causalpose.training.averaging import Average
from causalpose.training.determinism import deterministic
from causalpose.training.log import Log
from causalpose.training.memory import keep_large_blocks
from causalpose.training.objective import Objective, correct_share
from causalpose.training.prefetch import Prefetch
from causalpose.training.supervision import joint_places
from causalpose.training.truth import body_share
from causalpose.training.utilisation import measured_peak, training_flops
from causalpose.training.validation import validate


class Source(Protocol):
    """What every data source offers to training."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Clip:
        """The clips of the given numbers as one batch, frames uint8 `[B, T, 3, H, W]`."""


def train(
    config: Config,
    source: Source,
    out: str | Path,
    *,
    init: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    val: Source | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> Path:
    """Train one stage; returns the folder `out`, in which `model.safetensors` then lies (averaged weights when `train.ema` > 0).

    init      checkpoint, run folder or shipped weights to start from (usually of the stage below)
    resume    go on with the run in `out`; a folder without one starts anew, a finished run is left as it is
    val       a source on which PCK@0.2 is measured at every checkpoint and at the end, in a row of the log

    Errors: an existing run without `resume` or `overwrite`; resuming with another configuration (the differing keys are named); a
    loss that is not finite (the last saved state stays).
    """
    out = Path(out)
    keep_large_blocks()
    accelerator = _accelerator(config)
    shards = accelerator.num_processes * config.train.accumulate
    facts = {"clips": len(source), "clips_per_step": shards * config.train.batch, "init": None if init is None else str(init)}
    if not len(source):
        raise CausalPoseError("the training source is empty")
    labels.check(config.data.labels, len(source))
    if _prepare_everywhere(accelerator, out, config, facts, resume, overwrite):
        _say(accelerator, progress, f"{out} is finished already ({config.train.steps} steps); nothing to do")
        return out
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    # The caller's random stream stays as it was.
    with torch.random.fork_rng(devices=devices), deterministic(config.train.deterministic):
        _Run(accelerator, config, source, out, init, val, progress, tensorboard, facts).run()
    return out


class _Run:
    """The parts of one run, and its steps."""

    def __init__(self, accelerator, config, source, out, init, val, progress, tensorboard, facts):
        self.accelerator, self.config, self.source, self.out, self.val, self.facts = accelerator, config, source, out, val, facts
        self.main = accelerator.is_main_process
        self.progress = progress and self.main
        self.model = self._model(init)
        self.average = Average(self.model, config.train.ema)
        self.optimiser = optimiser.build(self.model, config.train, config.model.backbone.depth)
        # Seconds of training, without validation: until the last row of the log, and before this process.
        self.step, self.window, self.seconds, self.before = 0, defaultdict(float), 0.0, 0.0
        self.val_pck: float | None = None
        self._restore()
        self.objective = accelerator.prepare(Objective(self.model, config))
        self.tokens = self._tokens()
        self.read = Prefetch(self._read, self._ahead, config.train.workers)
        self.flops = training_flops(config, self.tokens is not None) if self.main else 0
        stated = config.train.peak_tflops * 1e12
        self.peak = (stated or measured_peak(accelerator.device, config.train.precision)) if self.main else 0.0
        self.log = Log(out, self.step, tensorboard) if self.main else None

    def run(self) -> None:
        train = self.config.train
        bar = tqdm(total=train.steps, initial=self.step, desc=f"stage {self.config.model.stage}", unit="step", disable=not self.progress)
        self.started = time.perf_counter() - self.before
        self.objective.train()
        with bar, closing(self.read):
            while self.step < train.steps:
                shown = self._step()
                bar.update()
                if self.step % train.log_every == 0 or self.step == train.steps or self._validates():
                    row = self._log(shown)
                    bar.set_postfix_str(
                        f"loss {row['loss']:.3f}, pck {row['pck']:.0f}, {row['clips_per_second']:.0f} clips/s, MFU {row['mfu']:.0f} %"
                    )
                if self.step % train.checkpoint_every == 0 and self.step < train.steps:
                    self._checkpoint()
        self._finish()

    def _model(self, init: str | Path | None) -> CMPose:
        torch.manual_seed(randomness.derive_seed(self.config.train.seed, "weights"))
        model = CMPose(self.config.model)
        if init is not None:
            _say(self.accelerator, self.progress, f"starting from {checkpoint.initialise(model, init)}")
        if self.config.train.freeze:
            if init is None:
                raise CausalPoseError("train.freeze keeps the backbone as it is, so it needs trained weights: give --init")
            model.backbone.requires_grad_(False)
        if self.config.train.freeze_encoder:
            if self.config.model.stage != 2:
                stage = self.config.model.stage
                raise CausalPoseError(
                    f"train.freeze_encoder keeps the encoder that stage 1 trained and is for stage 2; this is stage {stage}"
                )
            model.encoder.requires_grad_(False)
        if self.accelerator.num_processes > 1 and self.accelerator.device.type == "cuda":
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model.to(self.accelerator.device)

    def _restore(self) -> None:
        saved = state.read(self.out)
        if saved is None:
            return
        tensors, document = saved
        state.restore(tensors, self.model, self.optimiser, self.average)
        self.step, self.before = document["step"], document["seconds"]
        self.seconds = document.get("logged", self.before)  # states of earlier versions lack it
        self.window.update(document["window"])
        _say(self.accelerator, self.progress, f"resuming {self.out} after step {self.step} of {self.config.train.steps}")

    def _tokens(self) -> Tensor | None:
        train = self.config.train
        if not train.freeze or train.augment or not tokens.cacheable(self.model, len(self.source), self.config.model.frames):
            return None
        mixed = tokens.mixed_kept(self.config)
        return tokens.embed_all(self.model, self.source, self.accelerator.device, progress=self.progress, mixed=mixed, keep=self.main)

    def _step(self) -> tuple:
        """One optimiser step; returns the last shard's output and clip."""
        train, accelerator = self.config.train, self.accelerator
        world, shards = accelerator.num_processes, accelerator.num_processes * train.accumulate
        rate = optimiser.set_learning_rate(self.optimiser, train, self.step)
        sums: dict[str, Tensor] = {}
        mine = [turn * world + accelerator.process_index for turn in range(train.accumulate)]
        batches = []
        for shard in mine:
            batches.append(self._shard(shard))
            self._fetch_ahead(shard)
        number, places = self._counted_joints([clip for clip, _, _ in batches]) if shards > 1 else (None, None)
        for turn, (shard, (clip, cached, truth)) in enumerate(zip(mine, batches, strict=True)):
            draws = randomness.generator(train.seed, "model", self.step, shard, device=accelerator.device)
            torch.manual_seed(randomness.derive_seed(train.seed, "layers", self.step, shard))  # dropout layers use the global stream
            last = turn == train.accumulate - 1
            with self._mixed(), nullcontext() if last else accelerator.no_sync(self.objective):
                loss, parts, output = self.objective(
                    clip, cached, truth, generator=draws, progress=self.step / train.steps, number=number, places=places
                )
                accelerator.backward(loss / train.accumulate)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) + value / train.accumulate
        norm = self._clip(train.grad_clip or float("inf"))
        values = dict(zip(sums, accelerator.reduce(torch.stack(list(sums.values())), "mean").tolist(), strict=True))
        self._check_finite(values, norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.average.update(self.step)
        self.step += 1
        for name, value in (values | {"grad_norm": norm.item(), "steps": 1}).items():
            self.window[name] += value
        self.rate = rate
        return output, clip

    def _mixed(self):
        """Cached tokens of a frozen encoder have been through it."""
        cached = self.tokens is not None and tokens.mixed_kept(self.config)
        return self.model.encoder.passing() if cached else nullcontext()

    def _indices(self, step: int, shard: int) -> Tensor:
        """Numbers of the clips of one shard of a step."""
        train, shards = self.config.train, self.accelerator.num_processes * self.config.train.accumulate
        return labels.shard_indices(train.seed, step, len(self.source), shards, train.batch, self.config.data.labels)[shard]

    def _read(self, place: tuple[int, int]) -> Clip:
        """The clips of `(step, shard)` as the source has them."""
        return self.source.batch(self._indices(*place))

    def _ahead(self, place: tuple[int, int]) -> list[tuple[int, int]]:
        """The next places of this process, after `(step, shard)`."""
        train, world, (step, shard) = self.config.train, self.accelerator.num_processes, place
        places = []
        while len(places) < 2 * train.workers:
            shard += world
            if shard >= world * train.accumulate:
                step, shard = step + 1, self.accelerator.process_index
            if step >= train.steps:
                break
            places.append((step, shard))
        return places

    def _counted_joints(self, clips: list[Clip]) -> Tensor:
        """Joints that count in a shard, for the pose and for importance, mean over all shards of the step `[2]`."""
        model, shards = self.config.model, self.accelerator.num_processes * self.config.train.accumulate
        here = [heatmaps.counts(clip.keypoints[:, clip.target], clip.visibility[:, clip.target], model).sum() for clip in clips]
        taught = [joint_places(clip, model)[1].sum() if model.stage == 2 else here[0].new_zeros(()) for clip in clips]
        counted = torch.stack((torch.stack(here).sum().float(), torch.stack(taught).sum().float()))
        return self.accelerator.reduce(counted, "sum") / shards

    def _shard(self, shard: int) -> tuple[Clip, Tensor | None, Tensor | None]:
        """Clips of one shard of the step on the device, augmented; their cached tokens; the oracle's truth."""
        config, device = self.config, self.accelerator.device
        indices = self._indices(self.step, shard)
        clip = labels.hide(self.read((self.step, shard)), indices, config.data.labels)
        oracle = config.model.stage == 2 and config.model.fte.selector == "oracle"
        clip = clip if oracle else replace(clip, parts=None)
        if config.model.stage == 0:
            clip = clip.at_frames([clip.target])
        clip = clip.to(device)
        if config.train.augment:
            clip = augment(clip, config.model.keypoints, randomness.generator(config.train.seed, "augment", self.step, shard))
        cached = None if self.tokens is None else self.tokens[indices].to(device).float()
        return clip, cached, body_share(clip, config.model) if oracle else None

    def _fetch_ahead(self, shard: int) -> None:
        """Let a source that reads images begin with the next shard (of this step, or else of the next) while the model learns.

        With `train.workers` threads that is theirs to do.
        """
        prefetch = getattr(self.source, "prefetch", None)
        if prefetch is None or self.config.train.workers:
            return
        step, world = self.step, self.accelerator.num_processes
        if shard + world >= world * self.config.train.accumulate:
            step, shard = step + 1, self.accelerator.process_index - world
        prefetch(self._indices(step, shard + world))

    def _clip(self, largest: float) -> Tensor:
        """Cut the gradient to a norm; returns the norm before. A placebo's decoders are cut apart, or their gradient would shorten the
        pose's step: the one thing that a placebo must not do."""
        learning = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        if self.config.model.mcl.placebo:
            apart = [learning.pop(name) for name in list(learning) if name.startswith("auxiliary.")]
            torch.nn.utils.clip_grad_norm_(apart, largest)
        return torch.nn.utils.clip_grad_norm_(list(learning.values()), largest)

    def _check_finite(self, values: dict[str, float], norm: Tensor) -> None:
        bad = [name for name, value in (values | {"gradient": norm.item()}).items() if not abs(value) < float("inf")]
        if bad:
            kept = state.read(self.out)
            last = f"the state after step {kept[1]['step']} is kept in {self.out}" if kept else "nothing was saved yet"
            raise CausalPoseError(
                f"training diverged at step {self.step}: {', '.join(bad)} not finite; {last}; "
                "lower train.lr or train.grad_clip, or train with train.precision=no"
            )

    def _log(self, shown: tuple) -> dict[str, float]:
        """Write the means since the last row. The PCK column is measured on the last shard of the step, on its augmented view."""
        steps = self.window.pop("steps")
        means = {name: total / steps for name, total in self.window.items()}
        self.window.clear()
        seconds = time.perf_counter() - self.started
        speed = steps * self.facts["clips_per_step"] / max(seconds - self.seconds, 1e-9)
        self.seconds = seconds
        pck = correct_share(*shown, self.config).item()
        row = {"step": self.step, "lr": self.rate, **means, "pck": pck, "clips_per_second": speed}
        # Seconds include reading the clips, so the share is that of the whole run and not of its kernels alone.
        row |= {"mfu": 100 * speed * self.flops / max(self.peak * self.accelerator.num_processes, 1.0), "seconds": seconds}
        if self._validates():
            row["val_pck"] = self.val_pck = self._validate()
        if self.main:
            self.log.write(row)
        return row

    def _validates(self) -> bool:
        """Whether validation is due, which has a row of the log whether or not one is due besides."""
        train = self.config.train
        return self.val is not None and (self.step % train.checkpoint_every == 0 or self.step == train.steps)

    def _validate(self) -> float:
        begun = time.perf_counter()
        with self.average.applied(), self.accelerator.autocast():
            value = validate(self.model, self.val, self.config, self.accelerator)
        self.objective.train()
        self.started += time.perf_counter() - begun  # no training, so the next row's throughput must not pay for it
        return value

    def _checkpoint(self) -> None:
        if self.main:
            seconds = time.perf_counter() - self.started
            document = {"step": self.step, "seconds": seconds, "logged": self.seconds, "window": dict(self.window)}
            state.write(self.out, self.model, self.optimiser, self.average, document)
        self.accelerator.wait_for_everyone()

    def _finish(self) -> None:
        if self.main:
            metrics = {"val_pck": round(self.val_pck, 3)} if self.val is not None else {}
            provenance = checkpoint.describe_origin(
                self.config,
                self.step,
                init=self.facts["init"],
                source=self.source.describe() if hasattr(self.source, "describe") else None,
                seconds=round(self.seconds, 1),
                metrics=metrics,
            )
            checkpoint.save(self.out / "model.safetensors", self.average.state(), self.config, provenance)
            state.clear(self.out)
            self.log.close()
        self.accelerator.wait_for_everyone()


def _accelerator(config: Config) -> Accelerator:
    """Device, precision and processes. The config decides the precision, also when an earlier run of this process used another."""
    shared = AcceleratorState._shared_state
    if shared and shared.get("_mixed_precision") != config.train.precision:
        AcceleratorState._reset_state()
    # Which parameters a step uses depends on the arm (auxiliary tasks off, a selector without parameters), so DDP must look.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=config.train.precision, kwargs_handlers=[unused])


def _prepare_everywhere(accelerator: Accelerator, out: Path, config: Config, facts: dict, resume: bool, overwrite: bool) -> bool:
    """`folder.prepare` on the main process; every process gets its answer or its error."""
    answer: list = [None]
    if accelerator.is_main_process:
        try:
            answer = [folder.prepare(out, config, facts, resume=resume, overwrite=overwrite)]
        except CausalPoseError as error:
            answer = [error]
    answer = broadcast_object_list(answer)
    if isinstance(answer[0], CausalPoseError):
        raise answer[0]
    return answer[0]


def _say(accelerator: Accelerator, progress: bool, line: str) -> None:
    if progress and accelerator.is_main_process:
        tqdm.write(line)
