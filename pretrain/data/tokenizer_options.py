"""Options of the tokenizer: one that is trained on the sources, or one that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from megatron_lite.options import Options, PositiveCount
from pretrain.errors import UserError

DEFAULT = "sentencepiece"  # what a section without `kind` means


class SentencePieceOptions(Options):
    """A sentencepiece model with byte fallback, trained on a sample of the sources."""

    kind: Literal["sentencepiece"] = "sentencepiece"
    vocab_size: Annotated[int, Field(ge=512, le=2**20)] = Field(
        8192, description="pieces, special ones included"
    )
    sample_bytes: PositiveCount = Field(8_000_000, description="text that the tokenizer is trained on")
    model: Literal["bpe", "unigram"] = Field("bpe", description="how text is cut into pieces")


class ExistingOptions(Options):
    """A tokenizer that is there already, in a folder."""

    path: str = Field(min_length=1)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(self.path).expanduser()

    @property
    def vocab_size(self) -> int:
        """Token ids, counted in the files; UserError where they cannot be read."""
        try:
            return self._counted()
        except UserError as error:
            raise UserError(f"data.tokenizer.path: {error}") from error

    def _counted(self) -> int:
        raise NotImplementedError


class TrainedOptions(ExistingOptions):
    """A sentencepiece model that was trained before."""

    kind: Literal["trained"]
    path: str = Field(min_length=1, description="a folder with tokenizer.model, such as one below data.root")

    def _counted(self) -> int:
        from pretrain.data.tokenizer import load_tokenizer

        return load_tokenizer(self.folder).vocab_size


class TransformersOptions(ExistingOptions):
    """A tokenizer of transformers, taken as it is."""

    kind: Literal["transformers"]
    path: str = Field(
        min_length=1, description="a folder with tokenizer.json, and tokenizer_config.json for the end token"
    )

    def _counted(self) -> int:
        from pretrain.data.tokenizers.definition import read_definition

        return read_definition(self.folder).vocab_size


class ByKind:
    """Validates a section as the tokenizer that its `kind` chooses: only that one's keys are allowed."""

    discriminator = "kind"  # read where problems of a config are put into words

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A tagged union with a default, which pydantic's own discriminator has not."""
        classes = {
            "sentencepiece": SentencePieceOptions,
            "trained": TrainedOptions,
            "transformers": TransformersOptions,
        }
        choices = {kind: handler.generate_schema(cls) for kind, cls in classes.items()}
        return core_schema.tagged_union_schema(choices, discriminator=_kind_in)


def _kind_in(section: Any) -> Any:
    """The kind in a section, typed or not; what is no section counts as the default and fails there."""
    if isinstance(section, (SentencePieceOptions, TrainedOptions, TransformersOptions)):
        return section.kind
    return section.get("kind", DEFAULT) if isinstance(section, dict) else DEFAULT


TokenizerChoice = Annotated[SentencePieceOptions | TrainedOptions | TransformersOptions, ByKind()]
