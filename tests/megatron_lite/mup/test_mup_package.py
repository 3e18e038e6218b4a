"""The rules say what Microsoft's `mup` package says, wherever both define the same thing.

They differ in form at the outputs: the package divides in the forward pass, MuReadout, and leaves std and
learning rate alone. That is `logits_scaling` for the head; for a router that is an output, which has no
multiplier here, its std and learning rate are divided instead, which is the same to Adam.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.parameters import Parameter, parameters
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.roles import Role
from megatron_lite.mup.rules import Rule, rule

BASE_WIDTH, VOCABULARY, DECAY = 256, 64, 0.1
VECTORS = (Role.EMBEDDING, Role.HEAD, Role.NORM, Role.ROUTER)  # one side grows with the width
MATRICES = (Role.HIDDEN, Role.OUTPUT)


@pytest.fixture(scope="module")
def package() -> ModuleType:
    return pytest.importorskip("mup", reason="the mup package is not installed; `make setup` does it")


def shape_of(width: int, mup: MupOptions, *, sparse: bool) -> ModelShape:
    heads = width // 64
    options = ModelOptions(
        architecture="granitemoe" if sparse else "granite",
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        intermediate_size=width // 2,
        num_local_experts=4 if sparse else None,
        num_experts_per_tok=2 if sparse else None,
        tie_word_embeddings=False,
    )
    return resolve_shape(options, mup, VOCABULARY)


def options(**changes: Any) -> MupOptions:
    return MupOptions(base_width=BASE_WIDTH, **changes)


def their_tensors(package: ModuleType, width: int, *, sparse: bool) -> dict[str, nn.Parameter]:
    """Tensors of this width that know which of their sides grow: told by two other widths, as they do it."""
    base, delta, target = (
        {one.name: one.shape for one in parameters(shape_of(of, options(), sparse=sparse))}
        for of in (BASE_WIDTH, 2 * BASE_WIDTH, width)
    )
    growing = package.make_base_shapes(base, delta)
    infinite = package.shape.zip_infshapes(growing, target)
    tensors = {name: nn.Parameter(torch.empty(size)) for name, size in target.items()}
    for name, tensor in tensors.items():
        tensor.infshape = infinite[name]  # type: ignore[attr-defined]
    return tensors


def ours(width: int, *, sparse: bool, **changes: Any) -> list[tuple[Parameter, Rule]]:
    mup = options(**changes)
    shape = shape_of(width, mup, sparse=sparse)
    return [
        (parameter, rule(parameter.role, mup=mup, shape=shape, weight_decay=DECAY))
        for parameter in parameters(shape)
    ]


CASES = pytest.mark.parametrize(("width", "sparse"), [(128, False), (1024, False), (128, True), (1024, True)])


@CASES
def test_which_sides_grow_and_how_much(package: ModuleType, width: int, sparse: bool) -> None:
    tensors = their_tensors(package, width, sparse=sparse)
    for parameter, _ in ours(width, sparse=sparse):
        infinite = tensors[parameter.name].infshape  # type: ignore[attr-defined]
        assert infinite.ninf() == (2 if parameter.role in MATRICES else 1), parameter.name
        assert infinite.width_mult() == width / BASE_WIDTH


@CASES
def test_learning_rate_and_scaled_decay(package: ModuleType, width: int, sparse: bool) -> None:
    """Their AdamW multiplies the decay of matrices by the width ratio: that is `scaled`."""
    tensors = their_tensors(package, width, sparse=sparse)
    optimizer = package.MuAdamW(list(tensors.values()), lr=1.0, weight_decay=DECAY)
    group_of = {id(tensor): group for group in optimizer.param_groups for tensor in group["params"]}
    for parameter, found in ours(width, sparse=sparse, weight_decay_rule="scaled"):
        theirs = group_of[id(tensors[parameter.name])]
        divisor = width / BASE_WIDTH if parameter.role is Role.ROUTER else 1.0  # MuReadout's, see above
        assert found.lr_ratio == pytest.approx(theirs["lr"] / divisor), parameter.name
        if parameter.role not in (Role.NORM, Role.ROUTER):  # gains have no decay here
            assert found.weight_decay == pytest.approx(theirs["weight_decay"]), parameter.name


@CASES
def test_initial_weights(package: ModuleType, width: int, sparse: bool) -> None:
    """The same draw from the same random state; the depth's part, 1/sqrt(2L), is not theirs."""
    tensors = their_tensors(package, width, sparse=sparse)
    for parameter, found in ours(width, sparse=sparse, router="output"):
        if parameter.role is Role.NORM:
            continue
        depth = 2.0 if parameter.role is Role.OUTPUT else 1.0  # sqrt(2 · 2 layers)
        divisor = width / BASE_WIDTH if parameter.role is Role.ROUTER else 1.0
        theirs = drawn(lambda tensor: package.init.normal_(tensor, std=0.1), tensors[parameter.name])
        mine = drawn(
            lambda tensor, std=found.init_std: tensor.normal_(0.0, std), torch.empty(parameter.shape)
        )
        torch.testing.assert_close(mine * depth * divisor, theirs, rtol=1e-5, atol=1e-7)


@CASES
def test_the_head_is_their_readout(package: ModuleType, width: int, sparse: bool) -> None:
    shape = shape_of(width, options(), sparse=sparse)
    readout = package.MuReadout(width, VOCABULARY, bias=False)
    readout.weight.infshape = their_tensors(package, width, sparse=sparse)["head"].infshape  # type: ignore[attr-defined]
    x = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(readout(x), x @ readout.weight.T / shape.logits_scaling)


def drawn(draw: Any, tensor: Tensor) -> Tensor:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        draw(tensor)
    return tensor.detach()
