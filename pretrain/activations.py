"""Bytes of activations: what autograd keeps of a forward pass, and what the passes work with.

A, KV  heads and key-value heads x head_dim, H  hidden_size, I  intermediate_size
K      experts a token uses (1 if dense)

Kept of a block, in numbers a token, by `kernels.activation_checkpointing`:

                 none                              selective                  full
    two norms    4H        inputs and outputs      H   the block's input      H
    attention    3A + 3KV  q, k, v in one piece;   2A + 2KV + H  products     -
                           rotated q, k; result                  and result
    SwiGLU       3IK       gate, up, their product 2IK                        -
    down         -                                 H   (HK of experts)        -
    experts      2HK       inputs and results      -                          -

What is not kept is there for one block at a time, while that block's backward pass runs. Compiled blocks
keep what the compiler finds best, which is less than `none`.
"""

from __future__ import annotations

from megatron_lite.kernels.options import Checkpointing
from megatron_lite.model.shape import ModelShape

FP32, INT64 = 4, 8
# of the loss: fp32 logits that exist at one time, and what is converted at a time where weights are narrow
LOSS_CHUNK_BYTES, LOSS_CHUNK_ROWS, LOSS_BLOCK_BYTES = 64 * 2**20, 512, 24 * 2**20


def activations(
    shape: ModelShape, tokens: int, bytes_each: int, checkpointing: Checkpointing = "none"
) -> int:
    """An estimate for `tokens` tokens in one forward and backward pass, at the worst of three moments."""
    whole = kept(shape, tokens, bytes_each, checkpointing)
    head = shape.vocab_size * shape.hidden_size
    recomputed = _block(shape, bytes_each, "none") - _block(shape, bytes_each, checkpointing)
    in_loss = whole + _loss(shape, tokens, bytes_each)
    in_block = whole + tokens * (recomputed + _passing(shape, bytes_each)) + bytes_each * head
    in_embedding = 2 * bytes_each * (head + tokens * shape.hidden_size)  # its gradient beside the head's
    return max(in_loss, in_block, in_embedding)


def kept(shape: ModelShape, tokens: int, bytes_each: int, checkpointing: Checkpointing = "none") -> int:
    """What is held on to between the passes, weights and the gradients that the loss makes excepted."""
    ends = bytes_each * shape.hidden_size + FP32 * shape.head_dim  # the last norm's input; rope's angles
    return tokens * (shape.num_layers * _block(shape, bytes_each, checkpointing) + ends)


def _block(shape: ModelShape, bytes_each: int, checkpointing: Checkpointing) -> int:
    """Kept of a block, in bytes a token."""
    hidden, attention, key_value, inner, copies = _widths(shape)
    if checkpointing == "full":
        return bytes_each * hidden
    logits = FP32 * (shape.num_heads + (shape.num_experts or 0))  # attention's logsumexp; the router's
    if checkpointing == "selective":
        products = 2 * attention + 2 * key_value + hidden + 2 * inner + (copies or hidden)
        return bytes_each * (hidden + products) + logits
    numbers = 4 * hidden + 3 * attention + 3 * key_value + 3 * inner + 2 * copies
    return bytes_each * numbers + logits + _routing(shape, bytes_each)


def _routing(shape: ModelShape, bytes_each: int) -> int:
    """The router's fp32 softmax and weights, its input in fp32 and not as it came, and indices."""
    if not shape.num_experts or not shape.experts_per_token:
        return 0
    wider_input = (FP32 - bytes_each) * shape.hidden_size
    indices = 3 * INT64 * shape.experts_per_token  # experts of a token, rows of an expert, and back
    return FP32 * (shape.num_experts + shape.experts_per_token) + wider_input + indices


def _passing(shape: ModelShape, bytes_each: int) -> int:
    """The gradients that exist at the worst moment of a block's backward pass, in bytes a token."""
    hidden, _, _, inner, copies = _widths(shape)
    return bytes_each * (hidden + max(3 * inner, 2 * copies))  # in SwiGLU; where experts are combined


def _loss(shape: ModelShape, tokens: int, bytes_each: int) -> int:
    """A chunk of logits or the head's narrow gradient, beside the gradients made in the forward pass.

    The sum of the head's gradient is fp32; the narrow copy is made when the logits are gone.
    """
    vocab_size, hidden = shape.vocab_size, shape.hidden_size
    rows = max(1, min(tokens, LOSS_CHUNK_ROWS, LOSS_CHUNK_BYTES // (FP32 * vocab_size)))
    chunk, narrow = FP32 * rows * vocab_size, 0
    if bytes_each != FP32:
        chunk += min(FP32 * vocab_size * max(hidden, rows), LOSS_BLOCK_BYTES)
        narrow = bytes_each * vocab_size * hidden
    return FP32 * vocab_size * hidden + bytes_each * tokens * hidden + max(chunk, narrow)


def _widths(shape: ModelShape) -> tuple[int, int, int, int, int]:
    """H, A, KV, IK, and HK where there are experts."""
    copies = shape.experts_per_token or 1
    return (
        shape.hidden_size,
        shape.num_heads * shape.head_dim,
        shape.num_kv_heads * shape.head_dim,
        shape.intermediate_size * copies,
        shape.hidden_size * copies if shape.num_experts else 0,
    )
