"""Who is timed: a table of names, each with what builds it and what its ratios are taken of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pretrain.errors import UserError, nearest

# As transformers 5.23 lists them. It has two more, deepgemm and sonicmoe: CUDA kernels that it downloads.
EXPERTS_IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")
BARE = "ours, fp32 masters"  # what the engines' cost is measured against


class UnavailableError(Exception):
    """A contender that cannot take part here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to make a training step."""

    build: str  # module:function of a Setup and the options, giving a Step
    role: (
        str  # ours | engine | eager | compiled | other: the baselines are the fastest eager and compiled one
    )
    note: str
    options: Mapping[str, object] = field(default_factory=dict)
    compiled: bool = False
    kinds: tuple[str, ...] = ("dense", "moe")
    same_updates: bool = True  # false: it computes the same loss, but learns other parameters

    def takes(self, shape: str) -> bool:
        """Whether it has this shape."""
        return shape.endswith(self.kinds)


OURS: dict[str, tuple[Mapping[str, str], str]] = {  # kernel options beside the automatic choice, and a note
    "ours": ({"compile": "none"}, "the decoder, AdamW on its weights"),
    "ours compiled": ({"compile": "blocks"}, "the same, each block compiled"),
    "ours recomputing some": (
        {"compile": "none", "activation_checkpointing": "selective"},
        "the same, matrix products and attention kept for the backward pass",
    ),
    "ours recomputing all": (
        {"compile": "none", "activation_checkpointing": "full"},
        "the same, the input of each block kept for the backward pass",
    ),
}


def _ours() -> dict[str, Contender]:
    found = {
        name: Contender(
            build="speed.ours:bare",
            role="ours",
            compiled=kernels["compile"] == "blocks",
            options={"kernels": kernels},
            note=note,
        )
        for name, (kernels, note) in OURS.items()
    }
    found[BARE] = Contender(
        build="speed.ours:with_masters",
        role="ours",
        note="fp32 copies of the weights, router losses computed: the engines' work without an engine",
    )
    for name, how in (("torch", "the plain engine"), ("deepspeed", "DeepSpeed, ZeRO-1, one rank")):
        found[f"engine {name}"] = Contender(
            build="speed.ours:engine",
            role="engine",
            options={"name": name},
            note=f"our loop through {how}, the kernels that it chooses itself",
        )
    return found


def _transformers() -> dict[str, Contender]:
    found = {}
    for compiled, role in ((False, "eager"), (True, "compiled")):
        build = "speed.transformers_peer:bare"
        found[f"transformers {role}"] = Contender(
            build=build, role=role, compiled=compiled, kinds=("dense",), note="GraniteForCausalLM, sdpa"
        )
        for experts in EXPERTS_IMPLEMENTATIONS:
            found[f"transformers {role}, {experts}"] = Contender(
                build=build,
                role=role,
                compiled=compiled,
                kinds=("moe",),
                options={"experts": experts},
                note=f"GraniteMoeForCausalLM, sdpa, experts_implementation={experts}",
            )
    return found


def _litgpt() -> dict[str, Contender]:
    return {
        f"litgpt {word}": Contender(
            build="speed.litgpt_peer:bare",
            role="other",
            compiled=word == "compiled",
            same_updates=False,  # its head is not tied
            note="GPT of the same widths, multipliers folded into the weights, head not tied",
        )
        for word in ("eager", "compiled")
    }


CONTENDERS: dict[str, Contender] = {**_ours(), **_transformers(), **_litgpt()}


def chosen(patterns: str | None, shape: str) -> list[str]:
    """The contenders that have this shape and match one of the patterns, which `;` separates; all without."""
    taking = [name for name, contender in CONTENDERS.items() if contender.takes(shape)]
    if patterns is None:
        return taking
    wanted = [pattern.strip() for pattern in patterns.split(";")]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in CONTENDERS):
            raise UserError(
                f"--contenders: none is called '{pattern}'; there are {'; '.join(CONTENDERS)}."
                + nearest(pattern, CONTENDERS)
            )
    return [name for name in taking if any(fnmatchcase(name, pattern) for pattern in wanted)]
