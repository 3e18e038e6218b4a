"""DeepSpeed's own options, passed through; what this project decides or does not know is refused."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from megatron_lite.options import Options

OURS = {
    "train_batch_size": "batch.sequences",
    "train_micro_batch_size_per_gpu": "batch.micro_sequences",
    "gradient_accumulation_steps": "batch.sequences and batch.micro_sequences",
    "managed_gradient_accumulation": "batch.sequences and batch.micro_sequences",
    "gradient_clipping": "optimizer.clip",
    "optimizer": "our section `optimizer`",
    "scheduler": "our section `schedule`",
    "bf16": "run.precision",
    "bfloat16": "run.precision",
    "torch_autocast": "run.precision",
    "fp16": "run.precision (bf16; fp16 is not offered)",
    "data_types": "nothing: gradients are accumulated in fp32",
    "communication_data_type": "nothing: gradients are reduced in fp32",
    "gradient_allreduce_op": "nothing: gradients are summed over ranks",
    "steps_per_print": "trackers.console_every_steps",
    "tensorboard": "trackers.tensorboard",
    "wandb": "trackers.wandb",
    "checkpoint": "checkpoint",
}
# DeepSpeed reads its config by name and passes over what it does not know: a misspelt key would do nothing
PASSED = (
    "zero_optimization",
    "aio",
    "comms_logger",
    "disable_allgather",
    "disable_python_gc",
    "dump_state",
    "flops_profiler",
    "gradient_predivide_factor",
    "log_level",
    "memory_breakdown",
    "prescale_gradients",
    "timers",
    "wall_clock_breakdown",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
)


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
    def _refuse_others(cls, section: Any) -> Any:
        refused = [key for key in section if key not in PASSED] if isinstance(section, dict) else []
        if refused:
            raise ValueError("\n".join(_refusal(key) for key in refused))
        return section


def _refusal(key: str) -> str:
    if key in OURS:
        return f"{key} is decided by {OURS[key]}"
    found = get_close_matches(key, PASSED, n=1)
    return f"{key} is no key that is passed on to DeepSpeed; " + (
        f"did you mean '{found[0]}'?" if found else f"those are {', '.join(PASSED)}"
    )
