"""Weights of the Hugging Face hub by name, for those who have a network: `hf-hub:OWNER/NAME`, or `hf-hub:OWNER/NAME/FILE`.

A file once fetched lies in the hub's own cache and needs no network again.
"""

from pathlib import Path

from causalpose.errors import CausalPoseError

_PREFIX = "hf-hub:"
_FILE = "model.safetensors"


def is_name(text: str | Path) -> bool:
    """Whether this names weights of the hub and no file."""
    return str(text).startswith(_PREFIX)


def fetch(name: str) -> Path:
    """The local file of `hf-hub:OWNER/NAME[/FILE]` (`model.safetensors` if no file is named)."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    owner, _, rest = name.removeprefix(_PREFIX).partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise CausalPoseError(
            f"{name!r} names no weights of the hub; write {_PREFIX}OWNER/NAME, e.g. {_PREFIX}timm/vit_base_patch16_224.mae"
        )
    try:
        return Path(huggingface_hub.hf_hub_download(f"{owner}/{repository}", file or _FILE))
    except (OSError, ValueError, HfHubHTTPError) as error:  # not found, no network, offline and not in the cache
        reason = str(error).strip().splitlines()[0]
        raise CausalPoseError(f"cannot fetch {file or _FILE} of {owner}/{repository} from the hub ({reason}); give a local file") from None
