"""Start a model from published weights: read safely, translate the names, fit the shapes, and say what became of every tensor."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from causalpose.config import ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.skeletons import keypoint_set
from causalpose.weights import fitting, names, published
from causalpose.weights.names import BACKBONE, HEAD

# Tensors that have a slice for every keypoint, and along which dimension.
PER_KEYPOINT = {"head.layers.out.weight": 0, "head.layers.out.bias": 0, "importance.keypoint_tokens": 1}

# Heads by width: the shapes of the weights do not tell, and with a wrong number they load and mean nothing.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_VITPOSE_HEADS = _HEADS | {384: 12}


@dataclass(frozen=True)
class Initialised:
    """What an initialisation did: tensor names taken over, left aside (the file's names), and started fresh; notes on what was changed."""

    source: str
    used: tuple[str, ...]
    skipped: tuple[str, ...]
    new: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        def parts(names: tuple[str, ...]) -> str:
            return f" ({', '.join(sorted({name.split('.')[0] for name in names}))})" if names else ""

        line = (
            f"{self.source}: {len(self.used)} tensors used, {len(self.skipped)} left aside{parts(self.skipped)}, "
            f"{len(self.new)} new{parts(self.new)}"
        )
        return "; ".join((line, *self.notes))


def initialise(model: nn.Module, path: Path) -> Initialised:
    """Load published weights by name into `model` (a `CMPose` of any stage).

    The backbone must fit whole. The head is taken whole or not at all: another kind, width or norm leaves it new, and its last layer goes
    over by keypoint. Errors, all before the model is touched: a file that is no ViT, another width, depth or number of heads.
    """
    config: ModelConfig = model.config
    own = model.state_dict()
    try:
        tensors, origin, notes = names.translate(published.read(path), own)
        _check_size(tensors, config)
        notes += _fit_backbone(tensors, own, config)
        backbone = _backbone(tensors, own)
        head, said = _head(tensors, own, config)
    except CausalPoseError as error:
        raise error if str(path) in str(error) else CausalPoseError(f"cannot start from {path}: {error}") from None
    fits = backbone | head
    model.load_state_dict(own | fits)
    skipped = tuple(origin[name] for name in tensors if name not in fits)
    return Initialised(str(path), tuple(fits), skipped, tuple(name for name in own if name not in fits), (*notes, *said))


def _check_size(tensors: dict[str, Tensor], config: ModelConfig) -> None:
    b = config.backbone
    vitpose = any(name.startswith(HEAD) for name in tensors)
    width = tensors[BACKBONE + "patch_embed.proj.weight"].shape[0]
    depth = 1 + max((int(name.split(".")[3]) for name in tensors if name.startswith(BACKBONE + "blocks.")), default=-1)
    heads = (_VITPOSE_HEADS if vitpose else _HEADS).get(width, b.heads)
    wrong = [
        f"model.backbone.{key} = {value}, but the file's is {found}"
        for key, value, found in (("width", b.width, width), ("depth", b.depth, depth), ("heads", b.heads, heads))
        if value != found
    ]
    if wrong:
        raise CausalPoseError(f"another model: {', '.join(wrong)}; choose the preset of that size, or set these keys")


def _fit_backbone(tensors: dict[str, Tensor], own: dict[str, Tensor], config: ModelConfig) -> list[str]:
    kernel, position = BACKBONE + "patch_embed.proj.weight", BACKBONE + "pos_embed"
    notes = []
    if kernel in own:
        tensors[kernel], notes = fitting.patch_kernel(tensors[kernel], own[kernel].shape[-1])
    if position in tensors:
        added = BACKBONE + "cls_token" not in tensors  # a slot for a token that is not there is ViTPose's
        tensors[position], said = fitting.position_embedding(tensors[position], config.grid, added)
        notes = notes + said
    return notes


def _backbone(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    wanted = [name for name in own if name.startswith(BACKBONE)]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        first = missing[0].removeprefix(BACKBONE)
        raise CausalPoseError(f"another model: {len(missing)} of the {len(wanted)} tensors of the backbone are not in it, first {first}")
    for name in wanted:
        if tensors[name].shape != own[name].shape:
            here, there = list(own[name].shape), list(tensors[name].shape)
            raise CausalPoseError(f"another model: {name.removeprefix(BACKBONE)} has shape {there} there and {here} here")
    return {name: tensors[name].float() for name in wanted}


def _head(tensors: dict[str, Tensor], own: dict[str, Tensor], config: ModelConfig) -> tuple[dict[str, Tensor], list[str]]:
    """The head's tensors that fit, all or none, and notes."""
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(HEAD)}
    if not found:
        return {}, []
    wanted = {name for name in own if name.startswith(HEAD)}
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    last = HEAD + "out.weight"
    if not (wanted - optional <= found.keys() <= wanted) or any(found[n].shape[1:] != own[n].shape[1:] for n in found):
        remedy = "classic with model.head.norm=batch" if HEAD + "up.0.weight" in found else "simple"
        return {}, [f"the head is another and starts new (the file's is {remedy}, channels {found[last].shape[1]})"]
    body = {name: tensor for name, tensor in found.items() if name not in PER_KEYPOINT}
    source, target = fitting.published_set(found[last].shape[0]), keypoint_set(config.keypoints)
    if source is None:
        return body, [f"the last layer starts new: which {found[last].shape[0]} keypoints the file's has is not known"]
    rows, new = {}, []
    for name in (name for name in found if name in PER_KEYPOINT):
        rows[name], new = fitting.keypoint_rows(own[name], found[name].float(), PER_KEYPOINT[name], target, source)
    kept = len(target) - len(new)
    note = f"last layer taken over by keypoint for {kept} of {len(target)} (new: {', '.join(new)})" if new else None
    head = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in (body | rows).items()}
    return head, [note] if note else []
