"""Warnings of the model: scales that are not µP's, sizes that GPUs are slow at, experts that cannot learn."""

from __future__ import annotations

import math
from collections.abc import Iterator

from megatron_lite.schedules.power import Power
from pretrain.planning.rules.subject import Subject

PAPER_HEAD_DIM, PAPER_BASE_WIDTH = 64, 256
TILE = 64  # elements: matrix products run at full speed in multiples of it
PADDED_VOCABULARY = 128
GROUPED_BYTES = 16  # of a row that one product for all experts takes
SMALL_ROPE_THETA, LONG_SEQUENCE = 10_000.0, 8192
MUP_INIT_STD = 0.05  # far above the 0.02 of standard parametrisation
CLOSE = 0.01


def attention_scale(run: Subject) -> Iterator[str]:
    """Other than the parametrisation's."""
    head_dim, found = run.shape.head_dim, run.shape.attention_multiplier
    mup = run.config.mup.enabled
    wanted = 1 / head_dim if mup else head_dim**-0.5
    if not math.isclose(found, wanted, rel_tol=CLOSE):
        rule = f"µP's 1/head_dim = 1/{head_dim}" if mup else f"the standard 1/sqrt({head_dim})"
        yield (
            f"model.attention_multiplier: {found:.4g} is not {rule} = {wanted:.4g}; leave it out to have that"
        )


def logits_scale(run: Subject) -> Iterator[str]:
    """Under µP, output logits that are not divided by the width ratio."""
    wanted = run.shape.hidden_size / run.config.mup.base_width
    if run.config.mup.enabled and not math.isclose(run.shape.logits_scaling, wanted, rel_tol=CLOSE):
        yield (
            f"model.logits_scaling: {run.shape.logits_scaling:.4g} is not µP's hidden_size / base_width = "
            f"{wanted:.4g}; leave it out to have that"
        )


def head_width(run: Subject) -> Iterator[str]:
    """Heads that are not as wide as those the schedule was fitted on."""
    if _mup_power(run) and run.shape.head_dim != PAPER_HEAD_DIM:
        yield (
            f"model.num_attention_heads: heads are {run.shape.head_dim} wide; every model of the paper has "
            f"{PAPER_HEAD_DIM}, and µP carries its learning rate over to more heads, not to others"
        )


def base_width(run: Subject) -> Iterator[str]:
    """A base width that changes what the paper's learning rates mean."""
    if _mup_power(run) and run.config.mup.base_width != PAPER_BASE_WIDTH:
        yield (
            f"mup.base_width: {run.config.mup.base_width}; the power law's amplitude was fitted with "
            f"{PAPER_BASE_WIDTH}, and with another each hidden matrix learns at another rate"
        )


def initialisation(run: Subject) -> Iterator[str]:
    """µP's large standard deviation without µP."""
    if not run.config.mup.enabled and run.config.mup.init_std >= MUP_INIT_STD:
        yield (
            f"mup.init_std: {run.config.mup.init_std:g} without mup.enabled is the standard deviation of "
            "every matrix; 0.02 is usual for standard parametrisation"
        )


def vocabulary(run: Subject) -> Iterator[str]:
    """Rows of the head that tile badly."""
    size = run.shape.vocab_size
    if size % TILE:
        padded = -(-size // PADDED_VOCABULARY) * PADDED_VOCABULARY
        yield (
            f"model.vocab_size: {size} is not a multiple of {TILE}, and products with the head are slow on "
            f"GPUs; model.vocab_size={padded} pads it with rows that no text uses"
        )


def widths(run: Subject) -> Iterator[str]:
    """Sizes of matrices that tile badly, in the precision of GPUs."""
    if run.config.run.precision != "bf16":
        return
    for key, size in (
        ("hidden_size", run.shape.hidden_size),
        ("intermediate_size", run.shape.intermediate_size),
    ):
        if size % TILE:
            near = max(TILE, round(size / TILE) * TILE)
            yield f"model.{key}: {size} is not a multiple of {TILE}, which GPUs are slow at; {near} is near"


def positions(run: Subject) -> Iterator[str]:
    """Positions that are promised and never trained, and long sequences with the base of short ones."""
    longest = max(segment.sequence_length for segment in run.derived.segments_ahead)
    if longest < run.shape.max_positions:
        yield (
            f"model.max_position_embeddings: {run.shape.max_positions}, and no sequence of this run is "
            f"longer than {longest}; the exported model promises positions that it has never seen"
        )
    if longest > LONG_SEQUENCE and run.shape.rope_theta <= SMALL_ROPE_THETA:
        yield (
            f"model.rope_theta: {run.shape.rope_theta:g} with sequences of {longest} tokens; models with "
            f"more than {LONG_SEQUENCE} use a larger base, such as 500000"
        )


def routing(run: Subject) -> Iterator[str]:
    """Routers that cannot learn, and experts that nothing keeps in use."""
    experts, chosen, model = run.shape.num_experts, run.shape.experts_per_token, run.config.model
    if not experts or not chosen:
        return
    if chosen == 1:
        yield (
            "model.num_experts_per_tok: 1; the weights of the chosen experts are a softmax over those alone, "
            "which is 1 for a single one, so that the router learns nothing from the loss; use 2 or more"
        )
    if chosen == experts > 1:
        yield (
            f"model.num_experts_per_tok: all {experts} experts are used by every token, at the cost of a "
            "dense model as wide; use fewer"
        )
    if not model.router_aux_loss_coef and chosen < experts:
        yield "model.router_aux_loss_coef: 0; nothing keeps experts in use, and some may never be chosen"


def grouped_experts(run: Subject) -> Iterator[str]:
    """Expert matrices that one product for all experts does not take."""
    multiple = GROUPED_BYTES // (2 if run.config.run.precision == "bf16" else 4)
    for key, size in (
        ("hidden_size", run.shape.hidden_size),
        ("intermediate_size", run.shape.intermediate_size),
    ):
        if run.shape.num_experts and size % multiple and run.config.kernels.experts != "loop":
            yield (
                f"model.{key}: {size} is not a multiple of {multiple}, which one product for all experts "
                "needs; each expert gets a product of its own, which is several times slower"
            )


def _mup_power(run: Subject) -> bool:
    return run.config.mup.enabled and isinstance(run.config.schedule, Power)


RULES = (
    attention_scale,
    logits_scale,
    head_width,
    base_width,
    initialisation,
    vocabulary,
    widths,
    positions,
    routing,
    grouped_experts,
)
