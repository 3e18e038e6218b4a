"""`pretrain data build`: text of any kind to a folder of token shards, resumable and on all cores."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrain.commands.common import AsJson, print_json
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.data.folder_build import Share
    from pretrain.data.manifest import Manifest

Source = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="SPEC",
        help="A file, folder or glob (text, .jsonl, .jsonl.gz, .jsonl.zst, .parquet); `python` for the"
        " source code on this machine; `hub:NAME[:SUBSET]:SPLIT:COLUMN`; or `kind=jsonl,path=FILES,"
        "column=NAME`.",
    ),
]
TokenizerFolder = Annotated[
    Path, typer.Option("--tokenizer", metavar="FOLDER", help="The tokenizer that the text is encoded with.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the shards go; must not be there.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Processes; absent: one for every core.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what a killed build left.")]
Held = Annotated[
    float, typer.Option("--validation-share", min=0, max=0.99, help="Share of the text that is held out.")
]
Drop = Annotated[
    bool | None,
    typer.Option(
        "--drop-duplicates/--keep-duplicates",
        help="Whether documents that are byte by byte the same count once.  [default: drop]",
        show_default=False,
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="K/N", help="Do task K of N of the work alone, then stop: for job arrays."
    ),
]
Merge = Annotated[bool, typer.Option("--merge", help="Make the folder from parts that are all there.")]


def build(
    source: Source,
    tokenizer: TokenizerFolder,
    out: Out,
    workers: Workers = None,
    resume: Resume = False,
    validation_share: Held = 0.02,
    drop_duplicates: Drop = None,
    part: Part = None,
    merge: Merge = False,
    as_json: AsJson = False,
) -> None:
    """Build a folder of token shards, which a config reads with `{kind: shards, path: FOLDER}`.

    A build can be killed at any time; with --resume it goes on and gives the same bytes. Documents that are
    empty, too large or not valid UTF-8 are left out, counted and named. The work is done in FOLDER.building,
    which needs room for the text once and for its tokens twice.
    """
    from pretrain.data.folder_build import FolderBuild
    from pretrain.data.sources.parts import Grain
    from pretrain.data.sources.registry import open_source
    from pretrain.data.sources.spec import KEY, absolute, parse_source
    from pretrain.data.workers import available_cores
    from pretrain.monitor.console import Console

    share = _share(part)
    if share and merge:
        raise UserError("--merge: comes after every --part, not with one of them.")
    console = Console()
    changes = {} if drop_duplicates is None else {"drop_duplicates": drop_duplicates}
    options = absolute(parse_source(source).model_copy(update=changes))
    reader = open_source(out.name, options)
    reader.key = KEY
    order = FolderBuild(
        options=options,
        reader=reader,
        tokenizer_folder=tokenizer.expanduser().absolute(),
        out=out.expanduser().absolute(),
        validation_share=validation_share,
        num_workers=workers or available_cores(),
        say=console.say,
        progress=console,
        grain=Grain(),
    )
    try:
        if share:
            order.part(share)
            return
        manifest = order.merge() if merge else order.whole(resume)
    except OSError as error:
        raise UserError(f"--out: cannot build '{out}': {error}") from error
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        _show(out, manifest)


def _show(out: Path, manifest: Manifest) -> None:
    typer.echo(f"{out}: {manifest.describe()}")
    for reason, places in manifest.skipped_places.items():
        more = manifest.skipped[reason] - len(places)
        typer.echo(f"  {reason}: {'; '.join(places)}{f'; and {more:,} more' if more > 0 else ''}")


def _share(part: str | None) -> Share | None:
    from pretrain.data.folder_build import Share

    if part is None:
        return None
    numbers = re.fullmatch(r"(\d+)/(\d+)", part)
    if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise UserError(f"--part: '{part}' should be K/N, task K of N, such as 1/8 up to 8/8.")
    return Share(number=int(numbers[1]), count=int(numbers[2]))
