"""DeepSpeed's JSON from our config: the user's keys, and ours where ours decide."""

from __future__ import annotations

from typing import Any

from megatron_lite.optim.options import AdamWOptions
from megatron_lite.schedules.batch import BatchOptions
from pretrain.engine.options import DeepSpeedOptions


def deepspeed_config(
    options: DeepSpeedOptions,
    *,
    batch: BatchOptions,
    optimizer: AdamWOptions,
    precision: str,
    micro_steps: int,
    num_ranks: int,
) -> dict[str, Any]:
    """The config that DeepSpeed's engine is given.

    Gradients are accumulated and reduced in fp32 whatever the precision of the weights. Under ZeRO 0
    DeepSpeed reports no gradient norm, so clipping is done by our engine there. It does not look for
    gradients that are not finite: their norm is not either, and is known before a step is asked for.
    """
    stage = options.zero_optimization.stage
    return options.model_dump() | {
        "train_batch_size": batch.micro_sequences * micro_steps * num_ranks,
        "train_micro_batch_size_per_gpu": batch.micro_sequences,
        "gradient_accumulation_steps": micro_steps,
        "gradient_clipping": (optimizer.clip or 0.0) if stage else 0.0,
        "bf16": {"enabled": precision == "bf16", "check_grad_overflow": False},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "gradient_allreduce_op": "sum" if stage < 3 else "mean",  # stage 3 knows no sum
        "steps_per_print": 2**40,
    }
