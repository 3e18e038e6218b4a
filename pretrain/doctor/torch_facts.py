"""What torch says of itself and of its devices, as one JSON value of a process of its own: it may hang.

python -m pretrain.doctor.torch_facts
"""

from __future__ import annotations

import json
from typing import Any


def facts() -> dict[str, Any]:
    """Plain values."""
    import torch
    import torch.distributed as dist

    has_cuda = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": torch.cuda.device_count() if has_cuda else 0,
        "nccl": ".".join(map(str, torch.cuda.nccl.version()))
        if has_cuda and dist.is_nccl_available()
        else None,
        "gloo": dist.is_gloo_available(),
    }


if __name__ == "__main__":
    print(json.dumps(facts()))
