"""What is remembered against reading everything again; neighbours, growth and leaving change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels.choice import Kernels
from megatron_lite.model import cache
from megatron_lite.model.cache import Reader
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents, in_a_row
from megatron_lite.model.shape import ModelShape
from megatron_lite.model.twin import lent, twin

Shape = Callable[..., ModelShape]
Make = Callable[..., Decoder]
BOTH = pytest.mark.parametrize("num_experts", [None, 4], ids=["dense", "moe"])
TEXTS = [[1], [5, 6, 7, 8, 9], list(range(40, 57)), [3] * 9]


@pytest.fixture(autouse=True)
def _reading() -> Iterator[None]:
    with torch.no_grad():
        yield


def again(model: Decoder, texts: list[list[int]]) -> Tensor:
    """The logits behind each text, every one read alone and from its beginning."""
    rows = [torch.tensor([text]) for text in texts]
    return torch.stack([model.logits(row[0], documents(row, None))[-1] for row in rows])


def assert_rounding(found: Tensor, expected: Tensor) -> None:
    """To a few roundings of fp32, of the largest logit."""
    assert found.dtype == expected.dtype == torch.float32
    assert float((found - expected).abs().max() / expected.abs().max()) < 3e-6


@pytest.mark.parametrize(("num_experts", "key_heads"), [(None, 1), (None, 4), (4, 2)])
def test_logits_are_those_of_reading_everything_again(
    make_shape: Shape, make_decoder: Make, num_experts: int | None, key_heads: int
) -> None:
    model = make_decoder(make_shape(num_experts=num_experts, num_kv_heads=key_heads))
    reader, texts = Reader(model), [list(text) for text in TEXTS]
    found = reader.begin(texts)
    for _ in range(12):
        expected = again(model, texts)
        assert_rounding(found, expected)
        tokens = expected.argmax(-1).tolist()
        texts = [[*text, token] for text, token in zip(texts, tokens, strict=True)]
        found = reader.advance(tokens)


@BOTH
def test_texts_leave_and_change_places(
    make_shape: Shape, make_decoder: Make, num_experts: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache grows every other token, and texts leave one after another."""
    monkeypatch.setattr(cache, "ROOM", 2)
    model = make_decoder(make_shape(num_experts=num_experts))
    reader, texts = Reader(model), [list(text) for text in TEXTS]
    reader.begin(texts)
    for rows in ([0, 1, 2, 3], [3, 0, 2], [0, 1, 2], [2, 0], [1]):
        texts = [texts[row] for row in rows]
        reader.keep(rows)
        for token in (7, 30, 11):
            texts = [[*text, token] for text in texts]
            assert_rounding(reader.advance([token] * len(texts)), again(model, texts))


def test_a_reader_begins_anew(make_shape: Shape, make_decoder: Make) -> None:
    model = make_decoder(make_shape())
    reader = Reader(model)
    first = reader.begin([[1, 2, 3], [4]])
    reader.advance([5, 6])
    reader.begin([[9] * 20])
    assert torch.equal(reader.begin([[1, 2, 3], [4]]), first)
    assert_rounding(reader.advance([5, 6]), again(model, [[1, 2, 3, 5], [4, 6]]))


def test_no_more_is_read_than_the_model_has_positions_for(make_shape: Shape, make_decoder: Make) -> None:
    reader = Reader(make_decoder(make_shape(max_positions=4)))
    reader.begin([[1, 2, 3]])
    reader.advance([4])
    with pytest.raises(AssertionError, match="positions"):
        reader.advance([5])


def test_reading_leaves_the_decoder_as_it_is(make_shape: Shape, make_decoder: Make) -> None:
    model = make_decoder(make_shape(num_experts=4))
    names, modules = list(model.state_dict()), [type(module) for module in model.modules()]
    reader = Reader(model)
    reader.begin([[1, 2]])
    reader.advance([3])
    assert list(model.state_dict()) == names
    assert [type(module) for module in model.modules()] == modules


def test_narrow_weights_multiplied_wide_are_remembered_wide(make_shape: Shape, make_decoder: Make) -> None:
    """bf16 on a CPU without its instructions: rounded as reading everything again is, no more."""
    model = make_decoder(make_shape(num_experts=4))
    wide = Decoder(model.shape, Kernels(wide_products=True)).to(torch.bfloat16)
    wide.load_state_dict(model.state_dict())
    texts = [list(text) for text in TEXTS]
    reader = Reader(wide)
    reader.begin(texts)
    for token in (7, 30, 11):
        texts = [[*text, token] for text in texts]
        found, exact = reader.advance([token] * len(texts)), again(model, texts)
        spread = float(exact.std())
        assert float((found - exact).std()) < 0.1 * spread
        assert float((again(wide, texts) - exact).std()) < 0.1 * spread


def test_documents_in_a_row_are_those_of_training() -> None:
    tokens_BS = torch.tensor([[5, 9, 7, 7, 9, 6]])
    expected, found = documents(tokens_BS, 9), in_a_row([2, 3, 1])
    assert found.boundaries == expected.boundaries
    assert torch.equal(found.positions_T, expected.positions_T)
    assert torch.equal(found.cu_lengths, expected.cu_lengths)
    assert found.max_length == expected.max_length


@BOTH
def test_a_twin_is_the_same_function_of_the_same_memory(
    make_shape: Shape, make_decoder: Make, num_experts: int | None
) -> None:
    model = make_decoder(make_shape(num_experts=num_experts, tied=False))
    # what hangs on the decoder's modules is not asked
    model.layers[0].register_forward_pre_hook(lambda *_: pytest.fail("a hook of the decoder was called"))
    row = torch.tensor([[1, 2, 3, 4, 5]])
    with lent(model) as made:
        assert not made.training
        assert not any(parameter.requires_grad for parameter in made.parameters())
        before = made.logits(row[0], documents(row, None))
        for name, parameter in model.named_parameters():
            assert made.get_parameter(name).data_ptr() == parameter.data_ptr()
        model.embedding.mul_(2)
        assert not torch.equal(made.logits(row[0], documents(row, None)), before)
    assert sum(parameter.numel() for parameter in made.parameters()) == 0
    assert model.embedding.shape == (96, 32)


def test_a_twin_is_never_compiled(make_shape: Shape) -> None:
    shape = make_shape()
    compiled = Decoder(shape, replace(Kernels(), compile_blocks=True, activation_checkpointing="selective"))
    made = twin(compiled)
    assert not made.kernels.compile_blocks
    assert made.kernels.activation_checkpointing == "none"
