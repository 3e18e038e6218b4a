"""The tokenizer that a run was trained with: found by its hash below the run's data folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrain.data.tokenizer import MODEL_FILE, Tokenizer, load_tokenizer
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
    for folder in _candidates(source):
        tokenizer = load_tokenizer(folder)
        if tokenizer.sha256 == wanted:
            return tokenizer
    raise UserError(
        f"{source.checkpoint.folder}: its tokenizer (sha256 {wanted[:12]}...) is not below data.root, "
        f"'{source.config['data']['root']}'; name the folder of its {MODEL_FILE} with --tokenizer."
    )


def _candidates(source: Source) -> Iterator[Path]:
    """Folders with a tokenizer, below data.root as seen from here and from where the run was started."""
    root = Path(source.config["data"]["root"]).expanduser()
    roots = [root]
    run_root = Path(source.config["run"]["root"])
    if source.run_folder and not root.is_absolute() and not run_root.is_absolute():
        above = source.run_folder.absolute().parents
        depth = len(run_root.parts)  # the run folder is started-from/root/name
        roots += [above[depth] / root] if depth < len(above) else []
    for place in roots:
        yield from (file.parent for file in sorted(place.glob(f"tokenizers/*/{MODEL_FILE}")))
