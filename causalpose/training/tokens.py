"""Tokens of frozen parts computed once: with a frozen backbone and no augmentation they never change (ours, a speed path).

Tokens of scenes are also kept on disk, beside the rendered clips: the cells of a study share a backbone and clips, and would otherwise
spend half their time on the same numbers. A file is used only if the first clips' tokens, computed anew, agree with it.
"""

import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from causalpose.config import Config
from causalpose.data.files import replacing
from causalpose.model.cmpose import CMPose
from causalpose.scenes.dataset import cache_folder, renderer_fingerprint

LIMIT_BYTES = 4 << 30
_PROBE = 4  # clips that are computed anew before a stored file is believed


def mixed_kept(config: Config) -> bool:
    """Whether the tokens that are kept have been through the encoder: it is frozen, and the order of frames is not drawn anew."""
    return config.train.freeze_encoder and config.model.frame_order == "natural"


def cacheable(model: CMPose, count: int, frames: int) -> bool:
    """Whether the tokens of `count` clips fit the cache; those of a pruned backbone change as its keypoint tokens learn."""
    if model.pruner is not None:
        return False
    rows, columns = model.config.grid
    return count * frames * rows * columns * model.config.backbone.width * 2 <= LIMIT_BYTES


@torch.no_grad()
def embed_all(
    model: CMPose, source, device: torch.device, batch: int = 64, progress: bool = True, *, mixed: bool = False, keep: bool = True
) -> Tensor:
    """Tokens of every clip, float16 `[n, T, N, C]`, on the CPU.

    Batches are cut the same way whenever this runs, so a resumed run recomputes the very same tokens.
    mixed   the tokens that leave the spatio-temporal encoder instead of those that leave the backbone (stages 1 and 2)
    keep    use and make the file on disk, where the source is of scenes
    """
    training = model.training
    model.eval()
    try:
        path = _path(model, source, mixed) if keep and getattr(source, "world", None) is not None else None
        stored = None if path is None else _stored(path, model, source, device, mixed)
        if stored is not None:
            return stored
        parts = []
        for start in tqdm(range(0, len(source), batch), desc="tokens", disable=not progress, leave=False):
            parts.append(_embed(model, source, range(start, min(start + batch, len(source))), device, mixed))
        out = torch.cat(parts)
        if path is not None:
            _store(path, out)
        return out
    finally:
        model.train(training)


def _embed(model: CMPose, source, numbers: range, device: torch.device, mixed: bool) -> Tensor:
    tokens = model.embed(source.batch(torch.tensor(list(numbers))).frames.to(device))
    return (model.encoder(tokens)[0] if mixed else tokens).half().cpu()


def _path(model: CMPose, source, mixed: bool) -> Path:
    """A file named by everything that decides its content but the code: frozen weights, architecture, clips."""
    digest = hashlib.sha256()
    parts = ("backbone.", "encoder.") if mixed else ("backbone.",)
    for name, tensor in model.state_dict().items():
        if name.startswith(parts):
            digest.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    config = asdict(model.config)
    facts = [config["backbone"], config["encoder"] if mixed else None, repr(source.world), len(source), renderer_fingerprint()]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return cache_folder() / "tokens" / f"{digest.hexdigest()[:20]}.safetensors"


def _stored(path: Path, model: CMPose, source, device: torch.device, mixed: bool) -> Tensor | None:
    """The tokens of a file, or None where there is none, where it is damaged, or where it is not what the model computes now."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            tokens, expected = file.get_tensor("tokens"), (file.metadata() or {}).get("sum")
    except (SafetensorError, OSError, KeyError):
        return None
    if _sum(tokens) != expected:
        return None
    probe = _embed(model, source, range(min(_PROBE, len(source))), device, mixed)
    # Another batch size, processor or library rounds differently in the last places; another code or a damaged file is far off.
    fits = tokens.shape == (len(source), *probe.shape[1:]) and torch.allclose(
        tokens[: len(probe)].float(), probe.float(), atol=0.02, rtol=0.02
    )
    return tokens if fits else None


def _store(path: Path, tokens: Tensor) -> None:
    try:
        with replacing(path) as temporary:
            save_file({"tokens": tokens.contiguous()}, temporary, metadata={"sum": _sum(tokens)})
    except (OSError, SafetensorError) as error:
        warnings.warn(f"token cache {path} could not be written ({error}); the tokens stay in memory", stacklevel=3)


def _sum(tokens: Tensor) -> str:
    """A quick digest of the content (BLAKE2, about 1 GB/s)."""
    return hashlib.blake2b(tokens.contiguous().numpy().data, digest_size=16).hexdigest()
