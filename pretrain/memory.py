"""Memory of a rank before anything is allocated, part by part, and the refusal of what cannot fit.

P   parameters, N ranks. A part that ZeRO shards over ranks is divided by N.

    part             bf16      fp32                   sharded from
    weights          2P        4P                     stage 3
    master weights   4P        4P                     stage 1; none where the fp32 weights are their own
    moments          8P        8P                     stage 1
    gradients        4P        4P (accumulated fp32)  stage 2
    buckets          4 to 14 bytes a gradient of a bucket: copies on their way to the rank that owns them
    checkpoint copy  12P / N on a CPU: what a save writes while training goes on (a GPU's is on the host)

Under stage 3 there are also the weights that are whole at one time: those that are used again soon are kept.
Activations are an estimate that follows `kernels.activation_checkpointing` (activations.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from megatron_lite.model.parameters import Parameter, parameters
from megatron_lite.model.shape import ModelShape
from pretrain.activations import FP32, activations
from pretrain.communication import REUSE_ELEMENTS, number
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.config.schema import Config

BYTES = {"bf16": 2, "fp32": 4}
BUCKET_ELEMENTS = 500_000_000  # the default of DeepSpeed's reduce_bucket_size
# What DeepSpeed holds at the peak of an update beside the rest, by stage; fitted by benchmarks/memory.py.
BUCKET_BYTES = {0: 4, 1: 8, 2: 9, 3: 14}
OFFLOAD_BYTES = 8  # for a parameter of the share that an offloaded optimizer updates; on the host


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one rank."""

    weights: int
    master_weights: int
    moments: int
    gradients: int
    buckets: int
    activations: int
    checkpoint_copy: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(asdict(self).values())


def memory(config: Config, shape: ModelShape, num_ranks: int, *, on_host: bool = False) -> Memory:
    """What a run of `config` on `num_ranks` ranks needs on each of them.

    `on_host`: the ranks compute on CPUs, whose memory also holds what a save has copied out.
    """
    everything = parameters(shape)
    size = sum(parameter.size for parameter in everything)
    zero = config.deepspeed.zero_optimization
    sharded_by_deepspeed = config.run.engine == "deepspeed"
    stage = zero.stage if sharded_by_deepspeed else 0
    bytes_each = BYTES[config.run.precision]

    def share(sharded: bool) -> int:
        return -(-size // num_ranks) if sharded else size

    keys = zero.model_extra or {}
    kept = number(keys, "stage3_max_reuse_distance", REUSE_ELEMENTS)
    gathered = min(size, max(_gathered(everything), kept)) if stage == 3 else 0
    offloaded = on_host and sharded_by_deepspeed and "offload_optimizer" in keys
    bucket = min(size, number(keys, "reduce_bucket_size", BUCKET_ELEMENTS))
    own_master = config.run.precision == "fp32" and stage == 0
    return Memory(
        weights=bytes_each * (share(stage == 3) + gathered),
        master_weights=0 if own_master else FP32 * share(stage >= 1),
        moments=2 * FP32 * share(stage >= 1),
        gradients=FP32 * share(stage >= 2),
        buckets=(BUCKET_BYTES[stage] * bucket if sharded_by_deepspeed else 0)
        + (OFFLOAD_BYTES * share(True) if offloaded else 0),
        activations=activations(
            shape,
            _micro_batch_tokens(config),
            bytes_each,
            config.kernels.activation_checkpointing,
        ),
        checkpoint_copy=3 * FP32 * share(True) if on_host else 0,
    )


def _micro_batch_tokens(config: Config) -> int:
    """Tokens in the largest forward pass of any stage."""
    batch = config.batch
    return max(
        (stage.micro_sequences or batch.micro_sequences) * (stage.sequence_length or batch.sequence_length)
        for stage in config.stages
    )


def check_fit(needed_bytes: int, available_bytes: int, what: str) -> None:
    """UserError, with what to change, where `what` needs more than there is."""
    if needed_bytes > available_bytes:
        raise UserError(
            f"{what} needs about {readable(needed_bytes)} on each rank, and {readable(available_bytes)} "
            "are there. Use more ranks, a higher deepspeed.zero_optimization.stage, a smaller "
            "batch.micro_sequences, kernels.activation_checkpointing: full or a smaller config; "
            "`pretrain plan --ranks N` shows the parts."
        )


def readable(num_bytes: int) -> str:
    """Bytes for people: 1.5 GiB, or MiB below one."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"


def _gathered(everything: tuple[Parameter, ...]) -> int:
    """Weights that ZeRO-3 has whole at one time: the vocabulary, and a block beside the one fetched ahead."""
    blocks: dict[str, int] = {}
    for parameter in everything:
        block = ".".join(parameter.name.split(".")[:2])
        blocks[block] = blocks.get(block, 0) + parameter.size
    layers = [size for name, size in blocks.items() if name.startswith("layers.")]
    return sum(blocks.values()) - sum(layers) + sum(layers[:2])
