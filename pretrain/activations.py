"""Bytes of activations: what autograd keeps of a forward pass, and what the passes work with.

A, KV  heads and key-value heads x head_dim, H  hidden_size, I  intermediate_size
K      experts a token uses (1 if dense)

Kept of a block, in numbers a token:

    two norms                        4H         inputs and outputs
    attention                        3A + 3KV   q, k and v in one piece, q and k rotated, the result
    SwiGLU                           3IK        gate and up, and their product
    experts                          2HK        what goes into each and what comes out
"""

from __future__ import annotations

from megatron_lite.model.shape import ModelShape

FP32 = 4
LOSS_CHUNK_ROWS = 512  # of logits that exist at one time


def activations(shape: ModelShape, tokens: int, bytes_each: int) -> int:
    """An estimate for `tokens` tokens in one forward and backward pass, nothing being recomputed."""
    passing = (
        kept(shape, tokens, bytes_each) // shape.num_layers
    )  # the gradients of a block in its backward pass
    return kept(shape, tokens, bytes_each) + passing + _loss(shape, tokens, bytes_each)


def kept(shape: ModelShape, tokens: int, bytes_each: int) -> int:
    """What autograd holds on to between the passes, weights excepted."""
    hidden, attention = shape.hidden_size, shape.num_heads * shape.head_dim
    key_value = shape.num_kv_heads * shape.head_dim
    copies = shape.experts_per_token or 1
    block = 4 * hidden + 3 * attention + 3 * key_value + 3 * shape.intermediate_size * copies
    routing = 0
    if shape.num_experts:
        block += 2 * hidden * copies
        # The router computes in fp32: logits and their softmax, and its input where that is not fp32 yet.
        routing = FP32 * (2 * shape.num_experts + (hidden if bytes_each != FP32 else 0))
    ends = hidden  # the last norm's input; its output ends in the loss
    return tokens * (shape.num_layers * (bytes_each * block + routing) + bytes_each * ends)


def _loss(shape: ModelShape, tokens: int, bytes_each: int) -> int:
    """A chunk of logits, and the gradients that the loss makes in the forward pass."""
    logits = min(tokens, LOSS_CHUNK_ROWS) * shape.vocab_size * (FP32 + bytes_each)
    return logits + FP32 * shape.vocab_size * shape.hidden_size + bytes_each * tokens * shape.hidden_size
