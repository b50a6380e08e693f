"""`SceneSource`: scenes as a data set, rendered ahead into a cache on disk or on the fly (ours).

The cache is named by the hash of the world, the number of clips and a fingerprint of what the renderer draws, so a changed renderer
does not serve old pixels. It is written to a folder of its own and moved into place when complete: two processes that ask
at once both succeed, and a full disk leaves the clips in memory instead.
"""

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from causalpose.clip import CONDITION_CODES, Clip
from causalpose.config import DataConfig, ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.scenes.world import World

SPLITS = ("train", "val", "test")
_CHUNK = 256


@lru_cache
def renderer_fingerprint() -> str:
    """Twelve hexadecimal digits of what the renderer draws: the pixels, labels and keypoints of 48 small, hard clips.

    It changes when a picture changes and not when code is merely reworded, so it names the cache and the data that weights were trained on.
    """
    clips = World(height=48, width=32, frames=1, level="hard", seed=20250124).render(range(48))
    digest = hashlib.sha256()
    for tensor in (clips.frames, clips.parts, clips.visibility, (clips.keypoints * 64).round().int()):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path:
    """Where rendered clips are kept: `$CAUSALPOSE_CACHE`, else `~/.cache/causalpose`. Safe to delete at any time."""
    return Path(os.environ.get("CAUSALPOSE_CACHE") or Path.home() / ".cache" / "causalpose")


class SceneSource:
    """`data.clips` scenes of a split under one condition.

    model       decides height, width and frames
    data        split, seed, level and number of clips; the three splits never share a seed
    condition   `mixed` (everything the level contains, with `data.bias`: what training uses) or one of `CONDITION_CODES`. These are
                tests and carry no bias: for a biased test give `world=World(…).biased(…).under(…)`
    severity    1 to 5, of the condition
    world       replaces the world that the arguments describe (an intervened one, say)
    ahead       render all clips now; otherwise a batch is rendered when it is asked for, with the same pixels and nothing kept
                (training reads such batches ahead in `train.workers` threads)
    cache       keep the clips that are rendered ahead on disk
    """

    def __init__(
        self,
        model: ModelConfig,
        data: DataConfig,
        condition: str = "mixed",
        severity: int = 3,
        *,
        world: World | None = None,
        ahead: bool = True,
        cache: bool = True,
        progress: bool = False,
    ):
        if data.split not in SPLITS:
            raise CausalPoseError(f"scenes have no split {data.split!r}; splits: {', '.join(SPLITS)}")
        if model.keypoints != "posetrack15":
            raise CausalPoseError(f"scenes yield the keypoint set posetrack15, but the model wants {model.keypoints}")
        if world is None:
            world = World(model.height, model.width, model.frames, data.level, seed=data.seed * len(SPLITS) + SPLITS.index(data.split))
            world = world.biased(data.bias) if condition == "mixed" else world.under(condition, severity)
        self.world, self.condition, self.severity, self.data = world, condition, severity, data
        self._code = CONDITION_CODES.index(condition) if condition in CONDITION_CODES else 0
        self._clips = self._load(data.clips, cache, progress) if ahead else None

    def __len__(self) -> int:
        return self.data.clips

    def __getitem__(self, index: int) -> Clip:
        return self.batch([int(index)])[0]

    def batch(self, indices: Sequence[int] | torch.Tensor) -> Clip:
        """The clips at the given positions as one batch."""
        numbers = torch.as_tensor(indices, dtype=torch.long)
        if self._clips is not None:
            return self._clips[numbers]
        if bool(((numbers < -len(self)) | (numbers >= len(self))).any()):
            raise IndexError(f"clip numbers {numbers.tolist()} of a source of {len(self)} clips")
        clips = self.world.render(numbers % len(self))
        clips.condition.fill_(self._code)
        return clips

    def describe(self) -> dict:
        """The protocol of a score on this source, ready for JSON."""
        return {
            "dataset": "scenes",
            "split": self.data.split,
            "clips": len(self),
            "condition": self.condition,
            "severity": self.severity if self.condition not in ("mixed", "clean") else None,
            "level": self.world.level,
            "seed": self.data.seed,
            "bias": ", ".join(map(str, self.world.edges)) or None,
            "boxes": "ground truth, enlarged by 25 %, jittered by the camera",
            "scale": "torso: the longer shoulder-to-opposite-hip diagonal at the target frame",
            "renderer": renderer_fingerprint(),
        }

    # -- the cache -----------------------------------------------------------------------------------------------------

    def _load(self, clips: int, cache: bool, progress: bool) -> Clip:
        if not cache:
            return self._render(clips, progress)
        name = hashlib.sha256(json.dumps([repr(self.world), self._code, clips, renderer_fingerprint()]).encode()).hexdigest()[:20]
        folder = cache_folder() / "scenes" / name
        if not (folder / "complete.json").exists():
            rendered = self._render(clips, progress)
            try:
                _store(rendered, folder, repr(self.world))
            except OSError as error:
                warnings.warn(
                    f"scene cache {folder} could not be written ({error.strerror or error}); the clips stay in memory", stacklevel=3
                )
            return rendered
        return _restore(folder)

    def _render(self, clips: int, progress: bool) -> Clip:
        parts = []
        with tqdm(
            total=clips, unit="clip", desc=f"rendering scenes ({self.data.split}, {self.condition})", disable=not progress, leave=False
        ) as bar:
            for first in range(0, clips, _CHUNK):
                numbers = range(first, min(first + _CHUNK, clips))
                parts.append(self.world.render(numbers))
                bar.update(len(numbers))
        whole = Clip(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Clip)})
        whole.condition.fill_(self._code)
        return whole


def _store(clips: Clip, folder: Path, description: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        sums = {}
        for f in fields(Clip):
            array = getattr(clips, f.name).numpy()
            np.save(draft / f"{f.name}.npy", array)
            sums[f.name] = _checksum(array)
        (draft / "complete.json").write_text(json.dumps({"world": description, "checksums": sums}))
        try:
            os.rename(draft, folder)
        except OSError:
            if not (folder / "complete.json").exists():  # not "another process was first": a copy that broke off, say
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _restore(folder: Path) -> Clip:
    """Read a cache folder; one that does not match its checksums is removed and reported."""
    try:
        sums = json.loads((folder / "complete.json").read_text())["checksums"]
        arrays = {f.name: np.load(folder / f"{f.name}.npy", allow_pickle=False) for f in fields(Clip)}
        damaged = [name for name, array in arrays.items() if _checksum(array) != sums[name]]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        damaged = [str(error)]
    if damaged:
        shutil.rmtree(folder, ignore_errors=True)
        raise CausalPoseError(
            f"scene cache {folder} was damaged ({', '.join(damaged)}) and has been removed; run the command again to render it anew"
        )
    return Clip(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def _checksum(array: np.ndarray) -> str:
    """A quick digest of an array's bytes (BLAKE2, about 1 GB/s)."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
