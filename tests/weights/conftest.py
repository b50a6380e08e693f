"""Files as other projects publish them, with random weights."""

import pytest
import torch
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation


def huggingface(width: int = 384, heads: int = 12, depth: int = 2, simple: bool = False, **more) -> VitPoseForPoseEstimation:
    """Hugging Face's VitPose in eval mode, with every weight and running statistic drawn at random."""
    backbone = VitPoseBackboneConfig(
        image_size=[256, 192], patch_size=[16, 16], hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, mlp_ratio=4,
        out_indices=[depth], out_features=[f"stage{depth}"], **more,
    )  # fmt: skip
    model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, use_simple_decoder=simple, num_labels=17)).eval()
    generator = torch.Generator().manual_seed(width + simple)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_(0, 0.02, generator=generator)
        for name, tensor in model.state_dict().items():
            if "norm" in name and name.endswith(("weight", "running_var")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("running_mean"):
                tensor.normal_(0, 0.5, generator=generator)
        # Logits of standard deviation 0.3 to 0.7 with either head: large enough that equality to 1e-5 says something, and small enough that
        # sums of thousands of terms in another order stay below that.
        for tensor in model.head.conv.parameters():
            tensor.mul_(0.5 if simple else 3.0)
    return model


@pytest.fixture(scope="session")
def classic() -> VitPoseForPoseEstimation:
    """Two blocks of ViTPose-S with the classic head."""
    return huggingface()
