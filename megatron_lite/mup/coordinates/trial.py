"""One trial: a decoder of one width from one seed, a few updates, and the size of everything on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.loss import balance_loss, z_loss
from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.activations import activations
from megatron_lite.mup.coordinates.contributions import contributions
from megatron_lite.mup.coordinates.observe import observe
from megatron_lite.mup.coordinates.places import Kind, Place, split
from megatron_lite.mup.coordinates.recipe import Parametrisation, Recipe
from megatron_lite.mup.coordinates.scene import Assignment, Named, Scene
from megatron_lite.mup.initial import initial_weight
from megatron_lite.optim.adamw import adamw

Sizes = dict[Place, float]


def trial(shape: ModelShape, rules: Parametrisation, recipe: Recipe, seed: int) -> Sizes:
    """Root mean squares by place: activations, their changes, contributions and gradients."""
    subject = _Subject(shape, rules, recipe, seed)
    scene = subject.look()
    first = dict(activations(scene))
    sizes = _sizes(Kind.INITIAL, 0, first.items())
    for update in range(1, recipe.num_updates + 1):
        sizes |= _sizes(Kind.GRADIENT, update, subject.backward())
        subject.step()
        scene = subject.look()
        changes = ((name, now - first[name]) for name, now in activations(scene))
        sizes |= _sizes(Kind.CHANGE, update, changes)
        sizes |= _sizes(Kind.UPDATE, update, contributions(scene, subject.first_weights))
    return sizes


class _Subject:
    """The decoder on trial, in fp32, with its optimizer and its batch."""

    def __init__(self, shape: ModelShape, rules: Parametrisation, recipe: Recipe, seed: int) -> None:
        self.recipe = recipe
        with torch.device(recipe.device):
            self.decoder = Decoder(shape)
        self.learned = dict(self.decoder.named_parameters())
        self.weights = {name: weight.detach() for name, weight in self.learned.items()}
        for parameter in parameters(shape):
            of_role = rules.rule(parameter.role, shape)
            self.weights[parameter.name].copy_(initial_weight(parameter, of_role, seed))
        self.first_weights = {name: weight.clone() for name, weight in self.weights.items()}
        self.optimizer = adamw(recipe.optimizer, rules.groups(shape), self.learned)
        self.tokens_T, self.targets_T = (part.flatten().to(recipe.device) for part in recipe.batch)
        self.documents = documents(recipe.batch.tokens_BS, end_id=None).to(recipe.device)
        self.assignments: dict[str, Assignment] = {}

    def look(self) -> Scene:
        """One forward pass, observed."""
        return Scene(
            shape=self.decoder.shape,
            weights=self.weights,
            seen=observe(self.decoder, self.tokens_T, self.documents),
            tokens_T=self.tokens_T,
            targets_T=self.targets_T,
            documents=self.documents,
            assignments=self.assignments,
        )

    def backward(self) -> list[Named]:
        """The gradient of the objective of training, by parameter."""
        self.optimizer.zero_grad()
        self._objective().backward()
        return [(name, weight.grad) for name, weight in self.learned.items() if weight.grad is not None]

    def step(self) -> None:
        """Clip as the config says, and update."""
        if self.recipe.optimizer.clip is not None:
            nn.utils.clip_grad_norm_(self.learned.values(), self.recipe.optimizer.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * group["lr_ratio"]
        self.optimizer.step()

    def _objective(self) -> Tensor:
        num_tokens = self.tokens_T.numel()
        output = self.decoder(self.tokens_T, self.targets_T, self.documents)
        objective = output["loss_sum"] / num_tokens
        if "expert_counts_LE" not in output:
            return objective
        counts_LE = output["expert_counts_LE"]
        fractions_LE = counts_LE / counts_LE.sum(dim=1, keepdim=True)
        balance = balance_loss(fractions_LE, output["probability_sums_LE"], num_tokens)
        z = z_loss(output["z_sums_L"], num_tokens)
        return objective + self.recipe.balance_coefficient * balance + self.recipe.z_coefficient * z


def _sizes(kind: Kind, update: int, tensors: Iterable[Named]) -> Sizes:
    """The root mean square of every tensor, under its place."""
    return {Place(kind, *split(name), update): _root_mean_square(tensor) for name, tensor in tensors}


def _root_mean_square(tensor: Tensor) -> float:
    """Summed in fp64: some of these are millions of small numbers."""
    norm = torch.linalg.vector_norm(tensor, dtype=torch.float64)
    return norm.item() / math.sqrt(tensor.numel())
