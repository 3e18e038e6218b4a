"""Options of the data: sources of text, tokenizer, what is held out, how documents are masked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from megatron_lite.options import Options, PositiveCount, Share


class PythonSource(Options):
    """The Python source on this machine: standard library and installed packages."""

    kind: Literal["python"] = "python"
    max_bytes: PositiveCount = Field(64_000_000, description="stop collecting after this much text")


class FileSource(Options):
    """Local files, read through `datasets`."""

    kind: Literal["text", "jsonl", "parquet"]
    path: str = Field(description="a file, a folder or a glob")
    column: str = Field("text", description="the column that holds the document (jsonl, parquet)")


SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # names the folder of its shards
Source = Annotated[PythonSource | FileSource, Field(discriminator="kind")]


class TokenizerOptions(Options):
    """A sentencepiece BPE with byte fallback, trained on a sample of the sources."""

    vocab_size: Annotated[int, Field(ge=512, le=2**20)] = Field(
        8192, description="pieces, special ones included"
    )
    sample_bytes: PositiveCount = Field(8_000_000, description="text that the tokenizer is trained on")


class DataOptions(Options):
    """Where text comes from, and where tokenizer and token shards are kept."""

    root: str = Field("data", description="folder of tokenizers and token shards, shared by runs")
    sources: dict[SourceName, Source] = Field(min_length=1, description="name -> where its text comes from")
    tokenizer: TokenizerOptions = Field(TokenizerOptions(), description="the tokenizer that is trained")
    validation_share: Annotated[Share, Field(lt=1)] = Field(
        0.02, description="share of each source held out, by group (package, file or document)"
    )
    document_mask: bool = Field(
        True, description="attention stays inside a document; positions restart there"
    )


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
