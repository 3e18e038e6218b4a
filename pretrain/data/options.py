"""Options of the data: sources of text, tokenizer, what is held out, how documents are masked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from megatron_lite.options import Options, PositiveCount, PositiveReal, Share
from pretrain.data.sources.options import (
    FileSource,
    HubSource,
    PythonSource,
    ShardsSource,
    Source,
    SourceName,
)
from pretrain.data.tokenizer_options import SentencePieceOptions as TokenizerOptions
from pretrain.data.tokenizer_options import TokenizerChoice
from pretrain.errors import nearest

__all__ = [
    "DataOptions",
    "FileSource",
    "HubSource",
    "PythonSource",
    "ShardsSource",
    "Source",
    "SourceName",
    "Stage",
    "TokenizerOptions",
]

Packing = Literal["joined", "best_fit"]


class DataOptions(Options):
    """Where text comes from, and where tokenizer and token shards are kept."""

    root: str = Field("data", description="folder of tokenizers and token shards, shared by runs")
    sources: dict[SourceName, Source] = Field(min_length=1, description="name -> where its text comes from")
    tokenizer: TokenizerChoice = Field(TokenizerOptions(), description="the tokenizer that is trained")
    validation_share: Annotated[Share, Field(lt=1)] = Field(
        0.02, description="share of each source held out, by group (package, file or document)"
    )
    document_mask: bool = Field(
        True, description="attention stays inside a document; positions restart there"
    )
    packing: Packing = Field(
        "joined",
        description="joined: documents end to end, cut to length, nothing lost; best_fit: documents that "
        "fit are not cut, and what stays empty is padded",
    )
    strict: bool = Field(
        False, description="read all shards when a run starts, and refuse it if a byte has changed"
    )
    max_epochs: dict[SourceName, PositiveReal] = Field(
        {},
        description="source -> how often it may be read, 1 being once: a run that would read more is "
        "refused; a source that is not named is read again, in another order, as often as need be",
    )

    @model_validator(mode="after")
    def _limited_sources(self) -> DataOptions:
        for name in self.max_epochs:
            if name not in self.sources:
                known = ", ".join(self.sources)
                found = nearest(name, self.sources)
                raise ValueError(f"max_epochs.{name}: no such source; data.sources has {known}.{found}")
        return self


class Stage(Options):
    """A stretch of the run with one mixture."""

    name: str = Field(min_length=1, description="shown in logs and figures")
    tokens: PositiveCount = Field(description="length, rounded up to whole global batches")
    mix: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        min_length=1, description="source -> weight; weights need not add up to 1"
    )
    sequences: PositiveCount | None = Field(
        None, description="global batch of this stage; absent: that of batch.sequences and batch.schedule"
    )
    sequence_length: PositiveCount | None = Field(
        None, description="tokens in a sequence of this stage; absent: batch.sequence_length"
    )
    micro_sequences: PositiveCount | None = Field(
        None, description="per rank and forward pass in this stage; absent: batch.micro_sequences"
    )
