"""Warnings of sizes against each other: batch, tokens, parameters, evaluations."""

from __future__ import annotations

from collections.abc import Iterator

from megatron_lite.options import format_count
from pretrain.laws.published import chinchilla_loss, kaplan_critical_batch, zhang_critical_batch
from pretrain.planning.rules.subject import Subject

FEW_TOKENS, MANY_TOKENS = 5, 20_000  # for a parameter that a token uses
CHINCHILLA = 20
FEW_FOR_AN_EXPERT = 64
MUCH_EVALUATION = 0.05  # of the FLOPs of training
BACKWARD = 3  # a training pass's FLOPs in forward passes


def critical_batch(run: Subject) -> Iterator[str]:
    """A batch beyond every published estimate of where more sequences stop helping."""
    tokens, size = run.derived.tokens, run.counts.active_non_embedding
    loss = chinchilla_loss(size, tokens)
    critical = {
        "Zhang et al. 2024, 20 % more tokens": zhang_critical_batch(tokens),
        f"Kaplan et al. 2020 at a loss of {loss:.2f}": kaplan_critical_batch(loss),
    }
    if run.largest_batch_tokens > max(critical.values()):
        named = "; ".join(f"{format_count(round(batch))} ({law})" for law, batch in critical.items())
        yield (
            f"batch.sequences: {format_count(run.largest_batch_tokens)} tokens an update are above the "
            f"critical batch of a run of {format_count(tokens)} tokens: {named}; a smaller one reaches the "
            "same loss with fewer tokens (`pretrain laws batch` measures it)"
        )


def tokens_per_parameter(run: Subject) -> Iterator[str]:
    """Far from what anybody trains."""
    ratio = run.derived.tokens / run.counts.active
    if ratio < FEW_TOKENS:
        yield (
            f"stages: {ratio:.2g} tokens a parameter; at about {CHINCHILLA} the same FLOPs reach the lowest "
            "loss (Chinchilla), so that a smaller model would be better"
        )
    if ratio > MANY_TOKENS:
        yield (
            f"stages: {ratio:,.0f} tokens a parameter, far beyond the {CHINCHILLA} at which the same FLOPs "
            "reach the lowest loss (Chinchilla); a larger model would be better"
        )


def balance(run: Subject) -> Iterator[str]:
    """Too few tokens to say whether experts are used alike."""
    experts, chosen = run.shape.num_experts, run.shape.experts_per_token
    if not experts or not chosen or run.config.model.balance_scope != "micro_batch":
        return
    if not run.config.model.router_aux_loss_coef:
        return
    first = run.derived.stages_ahead[0]
    tokens = first.micro_sequences * first.sequence_length * run.num_ranks
    each = tokens * chosen / experts
    if each < FEW_FOR_AN_EXPERT:
        yield (
            f"model.balance_scope: the balance loss sees {each:.0f} tokens an expert in a micro-step, and "
            "pushes against chance; use model.balance_scope=lagged or a larger batch.micro_sequences"
        )


def evaluation(run: Subject) -> Iterator[str]:
    """Evaluations that take a good part of the time."""
    options = run.config.evaluate
    if options.every_steps is None or options.every_steps > run.steps_ahead:
        return
    stage = run.derived.stages_ahead[-1]
    passes = options.sequences * len(run.config.data.sources) / BACKWARD
    share = passes / (options.every_steps * run.derived.segments_ahead[-1].sequences)
    if share > MUCH_EVALUATION:
        yield (
            f"evaluate.every_steps: evaluations are {share:.0%} on top of training's FLOPs "
            f"({options.sequences} sequences of {stage.sequence_length} tokens a source every "
            f"{options.every_steps} updates); evaluate less often, or on fewer sequences"
        )


RULES = (critical_batch, tokens_per_parameter, balance, evaluation)
