"""DeepSpeed's own options, passed through; what this project decides is refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from megatron_lite.options import Options

OURS = {
    "train_batch_size": "batch.sequences",
    "train_micro_batch_size_per_gpu": "batch.micro_sequences",
    "gradient_accumulation_steps": "batch.sequences and batch.micro_sequences",
    "gradient_clipping": "optimizer.clip",
    "optimizer": "our section `optimizer`",
    "scheduler": "our section `schedule`",
    "bf16": "run.precision",
    "fp16": "run.precision (bf16; fp16 is not offered)",
    "data_types": "nothing: gradients are accumulated in fp32",
    "communication_data_type": "nothing: gradients are reduced in fp32",
    "tensorboard": "trackers.tensorboard",
    "wandb": "trackers.wandb",
    "checkpoint": "checkpoint",
}


class ZeroOptions(Options):
    """The `zero_optimization` section; keys beside `stage` are DeepSpeed's own."""

    model_config = ConfigDict(frozen=True, extra="allow")
    stage: Literal[0, 1, 2, 3] = Field(
        1, description="0: replicated, 1: optimizer, 2: and gradients, 3: and weights"
    )


class DeepSpeedOptions(Options):
    """DeepSpeed's config, as in its documentation."""

    model_config = ConfigDict(frozen=True, extra="allow")
    zero_optimization: ZeroOptions = Field(ZeroOptions(), description="what is sharded over ranks")

    @model_validator(mode="before")
    @classmethod
    def _refuse_ours(cls, section: Any) -> Any:
        taken = [key for key in section if key in OURS] if isinstance(section, dict) else []
        if taken:
            raise ValueError("\n".join(f"{key} is decided by {OURS[key]}" for key in taken))
        return section
