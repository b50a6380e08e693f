"""The spatio-temporal encoder."""

import torch

from causalpose.config import preset
from causalpose.model.encoder import Encoder

TINY = preset("tiny").model


def test_starts_as_the_identity():
    tokens = torch.randn(2, 3, 48, 128)
    assert torch.equal(Encoder(TINY)(tokens)[0], tokens)


def test_mixes_frames():
    """Once trained (here: shaken), the target frame's tokens depend on the other frames; a single-frame model's could not."""
    encoder = Encoder(TINY)
    for parameter in encoder.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    tokens = torch.randn(1, 3, 48, 128)
    changed = tokens.clone()
    changed[:, 0].normal_()  # a constant would be taken off again by the norm
    assert (encoder(tokens)[0][:, 1] - encoder(changed)[0][:, 1]).abs().max() > 1e-4


def test_temporal_embedding_tells_frames_apart():
    """Without it, exchanging the two outer frames could not be noticed at the target; with it, it is."""
    encoder = Encoder(TINY)
    for parameter in encoder.blocks.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    tokens = torch.randn(1, 3, 48, 128)
    swapped = tokens[:, [2, 1, 0]]
    torch.testing.assert_close(encoder(tokens)[0][:, 1], encoder(swapped)[0][:, 1], atol=1e-5, rtol=1e-4)
    encoder.temporal.data.normal_()
    assert not torch.allclose(encoder(tokens)[0][:, 1], encoder(swapped)[0][:, 1], atol=1e-3)


def test_attention_is_returned():
    weights = Encoder(TINY)(torch.randn(2, 3, 48, 128), with_weights=True)[1]
    assert weights.shape == (2, 4, 144, 144)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 144))
