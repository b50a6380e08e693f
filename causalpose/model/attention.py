"""Multi-head attention and the pre-norm block that the encoder, the decoders and FTE share.

The backbone's blocks are timm's; these differ in two ways that the rest of the model needs: they can return their attention
weights (a hook over a fused kernel would see nothing), and they can start as the identity.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Self-attention, with the weights as an explicit output."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        with_weights: bool = False,
        bias: Tensor | None = None,
        gate: Tensor | None = None,
        at: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """x `[B, S, C]` -> output `[B, S, C]` and, if asked for, weights `[B, heads, S, S]` (query, key).

        bias   `[B, S]`, added to the logits of a key (the log size of a merged token: ToMe's proportional attention)
        gate   `[B, S]`, multiplies the value of a key. It acts after the norm: a factor on `x` itself would be divided out again
        at     int64 `[B, Q]`, the places that ask, where not all do; the output is then `[B, Q, C]` and `S` queries are `Q`
        """
        B, S, C = x.shape
        if at is None:
            q, k, v = self.qkv(x).view(B, S, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, S, C/heads]
        else:
            weight, offset = self.qkv.weight, self.qkv.bias
            q = F.linear(pick(x, at), weight[:C], offset[:C]).unflatten(2, (self.heads, -1)).transpose(1, 2)
            k, v = F.linear(x, weight[C:], offset[C:]).view(B, S, 2, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if gate is not None:
            v = v * gate[:, None, :, None].to(v.dtype)
        if bias is not None:
            bias = bias[:, None, None, :].to(q.dtype)
        weights = None
        if not with_weights and fused_pays(q.device, q.dtype):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            logits = (q * (C // self.heads) ** -0.5) @ k.transpose(-2, -1)
            weights = (logits if bias is None else logits + bias).softmax(-1)
            y = weights.to(v.dtype) @ v
        return self.out(y.transpose(1, 2).flatten(2)), weights if with_weights else None


def fused_pays(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether PyTorch's fused attention is the faster one: on a GPU, and on a CPU in single precision.

    On a CPU its bfloat16 backward is several times slower than two matrix products written out, and its forward slower as well
    (`causalpose bench --sections choices`).
    """
    return device.type == "cuda" or (device.type == "cpu" and dtype == torch.float32)


class Block(nn.Module):
    """Pre-norm transformer block.

    `identity` sets both output projections to zero: the block starts as the identity map, so a stage built on trained weights begins
    exactly where they ended (Fixup and ReZero start residual branches at zero for the same reason). Its attention starts by likeness.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, identity: bool = False):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, int(width * mlp_ratio)), nn.GELU(), nn.Linear(int(width * mlp_ratio), width))
        self.apply(initialise_linear)
        if identity:
            for layer in (self.attention.out, self.mlp[2]):
                nn.init.zeros_(layer.weight)
            # Equal, orthogonal queries and keys: a token first looks at the tokens most like itself, which in the other frames are the same
            # body part's. From small random ones attention starts uniform, and finding its places takes most of a short training.
            with torch.no_grad():
                query, key, value = self.attention.qkv.weight.chunk(3)
                nn.init.orthogonal_(query)
                key.copy_(query)
                nn.init.orthogonal_(value)

    def forward(
        self,
        x: Tensor,
        with_weights: bool = False,
        bias: Tensor | None = None,
        gate: Tensor | None = None,
        at: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """x `[B, S, C]` -> `[B, S, C]` and, if asked for, the attention `[B, heads, S, S]`; `bias` and `gate` as in `Attention`.

        at   int64 `[B, Q]`: the output of these places alone, `[B, Q, C]`. All of `x` is still attended to
        """
        y, weights = self.attention(self.norm1(x), with_weights, bias, gate, at)
        x = (x if at is None else pick(x, at)) + y
        return x + self.mlp(self.norm2(x)), weights


def pick(x: Tensor, at: Tensor) -> Tensor:
    """Tokens `[B, Q, C]` of x `[B, S, C]` at the places int64 `[B, Q]`."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))


def initialise_linear(module: nn.Module) -> None:
    """ViT's usual start for linear layers: normal weights of standard deviation 0.02 (cut at two), zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
