"""A model to read and write texts with, from whatever folder a person names: ours or of transformers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from megatron_lite.kernels.choice import choose
from megatron_lite.kernels.options import KernelOptions
from megatron_lite.model.parameters import parameters
from pretrain.checkpoint.find import checkpoint_at
from pretrain.checkpoint.format import SEAL, STATE_FILE
from pretrain.checkpoint.load import checkpoints
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.errors import UserError
from pretrain.exchange.fields import shape_of_config
from pretrain.exchange.from_transformers import TOKENIZER_FOLDER
from pretrain.exchange.hub_folder import check_tensors, check_tied_copy, our_tensors, stored_tensors
from pretrain.exchange.names import links
from pretrain.exchange.run_tokenizer import run_tokenizer
from pretrain.exchange.source import Source, find_source
from pretrain.loop.build import DTYPES, build_model

if TYPE_CHECKING:
    from megatron_lite.model.decoder import Decoder
    from megatron_lite.model.shape import ModelShape

Precision = Literal["bf16", "fp32"]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model with its weights, its tokenizer, and where they are from."""

    model: Decoder  # in eval mode, without gradients
    tokenizer: Tokenizer
    name: str  # of the run, or of the folder that was imported
    step: int | None  # updates behind these weights; None where no run made them
    tokens: int | None  # trained on, likewise
    source: Path  # the checkpoint, or the folder of transformers
    precision: Precision
    sha256: str | None = None  # of the checkpoint's state; None for a folder of transformers


def open_model(
    source: Path | str,
    *,
    precision: Precision | None,
    device: torch.device,
    tokenizer: Path | None = None,
    say: Say = lambda text: None,
) -> Opened:
    """The model at `source`: a run folder, a checkpoint, an import, or a Granite folder of transformers.

    Of a run folder it is the newest checkpoint that is whole; damaged newer ones are passed over, and `say`
    hears of each. `precision` None: the run's own, otherwise bf16 on a GPU and fp32 elsewhere. `tokenizer`:
    a folder, where it is not beside the model. UserError with advice for whatever is not there or not whole.
    """
    path = _named(source)
    if _is_of_transformers(path):
        return _of_transformers(path, precision, device, tokenizer)
    found = _newest_whole(path, say)
    config, state, position = found.config, found.checkpoint.state, found.checkpoint.position
    imported = state.get("imported")
    precision = precision or config.get("run", {}).get("precision") or _usual(device)
    weights = (
        (parameter.name, found.checkpoint.tensor("weight", parameter.name))
        for parameter in parameters(found.shape)
    )
    words = _tokenizer(found, tokenizer)
    return Opened(
        model=_filled(path, found.shape, weights, words, precision, device),
        tokenizer=words,
        name=str(imported["from"] if imported else config.get("run", {}).get("name") or path.name),
        step=None if imported else position.step,
        tokens=None if imported else position.tokens,
        source=found.checkpoint.folder,
        precision=precision,
        sha256=state.get(SEAL),
    )


def find_model(source: Path | str, *, say: Say = lambda text: None) -> Path:
    """The one folder that `open_model` would read, whatever a run writes or deletes from here on."""
    path = _named(source)
    return path if _is_of_transformers(path) else _newest_whole(path, say).checkpoint.folder


def device_named(name: str | None) -> torch.device:
    """The device that a person asks for; None: the GPU where there is one. UserError where it is not here."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device: '{name}' should be cpu, cuda or cuda:NUMBER.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device: '{name}' is not here; this torch sees {torch.cuda.device_count()} GPUs.")
    return device


def _named(source: Path | str) -> Path:
    path = Path(os.path.expanduser(source))
    if path.is_file():
        raise UserError(f"{path}: is a file; name the folder of a run, a checkpoint or a model.")
    return path


def _is_of_transformers(path: Path) -> bool:
    try:
        return (path / "config.json").is_file() and not (path / STATE_FILE).is_file()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}.") from None


def _of_transformers(
    path: Path, precision: Precision | None, device: torch.device, tokenizer: Path | None
) -> Opened:
    shape = shape_of_config(path / "config.json")
    found, wanted = stored_tensors(path), links(shape)
    check_tensors(path, found, wanted)
    check_tied_copy(path, found, wanted)
    words = load_tokenizer(tokenizer or path)
    precision = precision or _usual(device)
    return Opened(
        model=_filled(path, shape, our_tensors(found, wanted), words, precision, device),
        tokenizer=words,
        name=path.absolute().name,
        step=None,
        tokens=None,
        source=path,
        precision=precision,
    )


def _newest_whole(path: Path, say: Say) -> Source:
    """What is named, or the newest of several checkpoints whose weights are as they were saved."""
    if (path / STATE_FILE).is_file():
        return find_source(path)
    folders = checkpoints(path / "checkpoints") or checkpoints(path)
    for older in range(len(folders) - 1, 0, -1):
        try:
            return find_source(folders[older])
        except UserError as damage:
            say(f"Warning: {damage} {folders[older - 1].name} is tried instead.")
    return find_source(folders[0] if folders else checkpoint_at(path).folder)


def _tokenizer(source: Source, given: Path | None) -> Tokenizer:
    found = run_tokenizer(source, given)
    if found:
        return found
    beside = source.checkpoint.folder / TOKENIZER_FOLDER
    if not beside.is_dir():
        folder = source.checkpoint.folder
        raise UserError(f"{folder}: no tokenizer came with these weights; name its folder with --tokenizer.")
    return load_tokenizer(beside)


def _usual(device: torch.device) -> Precision:
    return "bf16" if device.type == "cuda" else "fp32"


def _filled(
    path: Path,
    shape: ModelShape,
    weights: Iterable[tuple[str, Tensor]],
    tokenizer: Tokenizer,
    precision: Precision,
    device: torch.device,
) -> Decoder:
    """The decoder with these weights, one of ours in memory at a time."""
    if tokenizer.vocab_size > shape.vocab_size:
        raise UserError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} ids, the model {shape.vocab_size} of them; "
            "is it another model's?"
        )
    # texts have all lengths, and compiled code is made for one
    kernels = choose(KernelOptions(compile="none"), device, DTYPES[precision]).kernels
    model = build_model(shape, precision, device, kernels)
    places = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights:
            places[name].copy_(weight)
    return model.requires_grad_(False).eval()
