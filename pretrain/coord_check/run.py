"""A config and the options of the command, made into a check: what grows, what stays, and which tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.check import Verdict, check, seeds_by_width
from megatron_lite.mup.coordinates.recipe import Recipe, parametrisation
from megatron_lite.mup.coordinates.tokens import text_like
from pretrain.config.schema import Config
from pretrain.coord_check.widths import choose_widths, family
from pretrain.errors import UserError

LR_SHARE = 0.05  # of the schedule's largest: at the largest itself, without a warm-up, updates overshoot


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of the command; None: chosen here."""

    widths: tuple[int, ...] | None = None
    steps: int = 5
    seeds: int = 2
    lr: float | None = None
    head_dim: int | None = None
    vocab: int = 64
    batch: int = 8
    sequence: int = 64
    device: str = "cpu"


def run(config: Config, settings: Settings) -> tuple[dict[str, Any], tuple[Verdict, ...]]:
    """What was done, in words and numbers, and a verdict for every size."""
    _check_device(settings.device)
    if settings.lr is not None and not settings.lr > 0:
        raise UserError(f"--lr: {settings.lr:g} is not above 0")
    of = family(config.model, settings.widths, settings.head_dim)
    shapes = [of.shape(width, config.mup, settings.vocab) for width in choose_widths(of, settings.widths)]
    recipe = _recipe(config, settings)
    seeds = seeds_by_width(shapes, config.run.seed, settings.seeds)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("trials", total=sum(map(len, seeds)))
        verdicts = check(
            shapes,
            parametrisation(config.mup, config.optimizer.weight_decay),
            recipe,
            seeds=seeds,
            mup=config.mup,
            after_trial=lambda: progress.advance(task),
        )
    return _setting(config, settings, shapes, recipe, seeds), verdicts


def _recipe(config: Config, settings: Settings) -> Recipe:
    """The config's own optimizer, clip and router losses, on tokens that are the same everywhere."""
    return Recipe(
        batch=text_like(settings.vocab, settings.batch, settings.sequence),
        num_updates=settings.steps,
        lr=settings.lr or LR_SHARE * _largest_lr(config),
        optimizer=config.optimizer,
        balance_coefficient=config.model.router_aux_loss_coef,
        z_coefficient=config.model.router_z_loss_coef,
        device=settings.device,
    )


def _largest_lr(config: Config) -> float:
    largest = getattr(config.schedule, "lr_max", None)
    if largest is None:
        raise UserError("--lr: this schedule has no lr_max to start from; say which learning rate")
    return float(largest)


def _setting(
    config: Config,
    settings: Settings,
    shapes: Sequence[ModelShape],
    recipe: Recipe,
    seeds: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """What grows, as a list with an entry a width, and what stays."""
    first, model = shapes[0], config.model
    configured = model.hidden_size // model.num_attention_heads
    note = "" if first.head_dim == configured else f" (the config's is {configured})"
    stays = {
        "head_dim": f"{first.head_dim}{note}",
        "layers": first.num_layers,
        "experts": first.num_experts or "none",
        "vocabulary": f"{first.vocab_size}, head {'tied' if first.tied else 'untied'}",
        "tokens": f"{settings.batch} sequences of {settings.sequence}, the same in every update",
        "updates": f"{recipe.num_updates} at lr {recipe.lr:g}, clip {recipe.optimizer.clip}, fp32",
        "mup": "enabled" if config.mup.enabled else "not enabled",
        "device": recipe.device,
    }
    if first.num_experts is not None:
        stays["router"] = config.mup.router
    return {
        "config": config.run.name,
        "widths": [shape.hidden_size for shape in shapes],
        "heads": [shape.num_heads for shape in shapes],
        "kv_heads": [shape.num_kv_heads for shape in shapes],
        "intermediate_size": [shape.intermediate_size for shape in shapes],
        "seeds": [len(of_width) for of_width in seeds],
        **stays,
    }


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise UserError(f"--device: {device!r} is neither cpu nor cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device: no cuda device is here; leave it out, or give cpu")
