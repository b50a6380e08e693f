"""The pins are the closure of the declared packages."""

from packaging.requirements import Requirement

from tools.pin_versions import closure


def test_closure_follows_requirements_and_extras() -> None:
    """tqdm is in because huggingface-hub needs it; a package of one platform is left out; labels such as +cpu are cut."""
    pinned = closure([Requirement("safetensors"), Requirement("torch"), Requirement("timm")])
    assert {"safetensors", "torch", "timm", "huggingface-hub", "tqdm", "numpy"} <= set(pinned)
    assert not [name for name in pinned if name.startswith(("nvidia-", "triton", "cuda-"))]
    assert not [number for number in pinned.values() if "+" in number]
    assert "pytest" not in pinned
