"""Options of the sources of text, one class a kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from megatron_lite.options import Options, PositiveCount

DropDuplicates = Annotated[
    bool, Field(description="leave out documents that are byte by byte the same as one before")
]


class TextSource(Options):
    """What every source of text can be asked, whatever its kind."""

    def inputs(self) -> dict[str, Any]:
        """What a corpus is named by. Later keys count where they are set, so older folders stay valid."""
        values = self.model_dump()
        return {name: value for name, value in values.items() if (name, value) != ("drop_duplicates", True)}


class PythonSource(TextSource):
    """The Python source on this machine: standard library and installed packages."""

    kind: Literal["python"] = "python"
    max_bytes: PositiveCount = Field(64_000_000, description="stop collecting after this much text")
    drop_duplicates: DropDuplicates = True


class FileSource(TextSource):
    """Local files."""

    kind: Literal["text", "jsonl", "parquet"]
    path: str = Field(description="a file, a folder or a glob")
    column: str = Field("text", description="the column that holds the document (jsonl, parquet)")
    drop_duplicates: DropDuplicates = True


class HubSource(TextSource):
    """A dataset of the Hugging Face hub, or a local folder of one, streamed."""

    kind: Literal["hub"]
    name: str = Field(min_length=1, description="its name on the hub, such as `owner/dataset`, or a folder")
    subset: str | None = Field(None, description="its configuration, where it has several")
    split: str = Field(min_length=1, description="the split to read, such as `train`")
    column: str = Field("text", description="the column that holds the document")
    revision: str | None = Field(None, description="a commit, tag or branch; absent: the newest")
    drop_duplicates: DropDuplicates = True


class ShardsSource(Options):
    """Token shards that are there already, used in place and never copied."""

    kind: Literal["shards"]
    path: str = Field(
        min_length=1,
        description="a folder that `pretrain data build` made, or the prefix of `.bin` and `.idx`",
    )


SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # names the folder of its shards
AnyText = PythonSource | FileSource | HubSource
Source = Annotated[AnyText | ShardsSource, Field(discriminator="kind")]
