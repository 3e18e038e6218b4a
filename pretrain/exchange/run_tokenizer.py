"""The tokenizer that a run was trained with: found by its hash below the run's data folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrain.data.tokenizer import Tokenizer, find_tokenizer, load_tokenizer
from pretrain.errors import UserError
from pretrain.exchange.source import Source


def run_tokenizer(source: Source, given: Path | None) -> Tokenizer | None:
    """The tokenizer in the folder that is given, else that of the run; None for imported weights.

    UserError where it is not found, or is another than the run's.
    """
    wanted = source.checkpoint.state.get("fingerprint", {}).get("tokenizer")
    if given:
        tokenizer = load_tokenizer(given)
        if wanted and tokenizer.sha256 != wanted:
            raise UserError(
                f"--tokenizer: {given} is not the run's, whose sha256 begins with {wanted[:12]}, "
                f"but {tokenizer.sha256[:12]}."
            )
        return tokenizer
    if wanted is None:
        return None
    for root in _data_roots(source):
        if found := find_tokenizer(root, wanted):
            return found
    raise UserError(
        f"{source.checkpoint.folder}: its tokenizer (sha256 {wanted[:12]}...) is not below data.root, "
        f"'{source.config['data']['root']}'; name its folder with --tokenizer."
    )


def _data_roots(source: Source) -> Iterator[Path]:
    """data.root as seen from here, and from where the run was started."""
    root = Path(source.config["data"]["root"]).expanduser()
    yield root
    run_root = Path(source.config["run"]["root"])
    if source.run_folder and not root.is_absolute() and not run_root.is_absolute():
        above = source.run_folder.absolute().parents
        depth = len(run_root.parts)  # the run folder is started-from/root/name
        if depth < len(above):
            yield above[depth] / root
