"""Tokens per second of our tokenizers, against the library of each, on the same cores and per core.

python benchmarks/data/tokenizing.py
python benchmarks/data/tokenizing.py --megabytes 32 --rounds 9 --json figures.json

Everybody encodes the same documents, in alternation; a figure is the median over rounds, a ratio the median
of the ratios of each round. Per core means per second of processor time, which neighbours disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from pretrain.data.sources.base import Document  # noqa: E402
from pretrain.data.sources.options import PythonSource  # noqa: E402
from pretrain.data.sources.python import PythonReader  # noqa: E402
from pretrain.data.tokenizer import Tokenizer, load_tokenizer  # noqa: E402
from pretrain.data.tokenizer_options import SentencePieceOptions  # noqa: E402
from pretrain.data.tokenizer_training import train_tokenizer  # noqa: E402
from pretrain.files import replace  # noqa: E402

VOCABULARY = 4096
END = "<|endoftext|>"
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
Encode = Callable[[Sequence[str]], int]  # documents to the number of their tokens


@dataclass(frozen=True, kw_only=True)
class Row:
    """Ours and one other, on one tokenizer."""

    tokenizer: str
    engine: str
    peer: str
    threads: int
    tokens: int
    ours_tokens_per_second: float
    peer_tokens_per_second: float
    ratio: float  # of tokens per second
    ours_tokens_per_core_second: float
    peer_tokens_per_core_second: float
    core_ratio: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--megabytes", type=float, default=4, help="of Python source (default: 4)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of everybody (default: 7)")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    texts = documents(int(options.megabytes * 1e6))
    rows: list[Row] = []
    with TemporaryDirectory() as place:
        for name, make in (
            ("sentencepiece bpe", sentencepiece("bpe")),
            ("sentencepiece unigram", sentencepiece("unigram")),
            ("byte-level, GPT-2", byte_level("words")),
            ("byte-level, Llama 3", byte_level("llama3")),
            ("byte-level, two patterns", byte_level("two")),
        ):
            folder = Path(place, name)
            folder.mkdir()
            print(f"{name}: training", file=sys.stderr)
            peers = make(texts[: len(texts) // 2], folder, options.threads)
            rows += compare(name, load_tokenizer(folder), peers, texts, options)
    for row in rows:
        ours, theirs = row.ours_tokens_per_second / 1e6, row.peer_tokens_per_second / 1e6
        print(
            f"{row.tokenizer:26}{row.peer:34}{row.threads} threads {ours:6.2f} against {theirs:6.2f} M tok/s:"
            f" {row.ratio:5.2f}x; per core {row.core_ratio:5.2f}x"
        )
    if options.json:
        replace(options.json, json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def documents(max_bytes: int) -> list[str]:
    items = PythonReader(PythonSource(max_bytes=max_bytes)).documents()
    return [item.text for item in items if isinstance(item, Document)]


def compare(
    name: str, ours: Tokenizer, peers: dict[str, tuple[int, Encode]], texts: list[str], options: Any
) -> list[Row]:
    """Everybody in turn, `rounds` times after one turn to warm up."""
    threads = sorted({threads for threads, _ in peers.values()})
    contenders = {f"ours {count}": on_threads(ours, count) for count in threads}
    contenders |= {peer: encode for peer, (_, encode) in peers.items()}
    found: dict[str, list[tuple[float, float]]] = {key: [] for key in contenders}
    counts = {key: encode(texts) for key, encode in contenders.items()}
    # Equal, but for U+2581 and very long lines, with which sentencepiece by itself does otherwise.
    assert max(counts.values()) <= min(counts.values()) * (1.001 if ours.kind == "sentencepiece" else 1), (
        counts
    )
    for number in range(options.rounds):
        for key, encode in contenders.items():
            found[key].append(timed(lambda encode=encode: encode(texts)))
        print(f"{name}: round {number + 1}", file=sys.stderr)
    rows = []
    for peer, (count, _) in peers.items():
        mine, theirs, tokens = found[f"ours {count}"], found[peer], counts[peer]
        pairs = list(zip(mine, theirs, strict=True))
        rows.append(
            Row(
                tokenizer=name,
                engine=ours.engine,
                peer=peer,
                threads=count,
                tokens=tokens,
                ours_tokens_per_second=tokens / median(wall for wall, _ in mine),
                peer_tokens_per_second=tokens / median(wall for wall, _ in theirs),
                ratio=median(other[0] / own[0] for own, other in pairs),
                ours_tokens_per_core_second=tokens / median(core for _, core in mine),
                peer_tokens_per_core_second=tokens / median(core for _, core in theirs),
                core_ratio=median(other[1] / own[1] for own, other in pairs),
            )
        )
    return rows


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall and of all threads together."""
    wall, core = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - core


def on_threads(tokenizer: Tokenizer, threads: int) -> Encode:
    """As a build does it."""

    def encode(texts: Sequence[str]) -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda text: len(tokenizer.encode_array(text)), texts, chunksize=16))

    return encode


def sentencepiece(model: str) -> Callable[[list[str], Path, int], dict[str, tuple[int, Encode]]]:
    def make(texts: list[str], folder: Path, threads: int) -> dict[str, tuple[int, Encode]]:
        from sentencepiece import SentencePieceProcessor

        options = SentencePieceOptions.model_validate({"vocab_size": VOCABULARY, "model": model})
        train_tokenizer(texts, options, folder)
        library = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))

        def encode(texts: Sequence[str]) -> int:
            # its own way: one document a call item, which merges in time that grows with the document
            return sum(map(len, library.encode(list(texts), num_threads=threads)))

        return {"sentencepiece encode(num_threads)": (threads, encode)}

    return make


def byte_level(cut: str) -> Callable[[list[str], Path, int], dict[str, tuple[int, Encode]]]:
    def make(texts: list[str], folder: Path, threads: int) -> dict[str, tuple[int, Encode]]:
        import tokenizers
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        library = tokenizers.Tokenizer(tokenizers.models.BPE())
        library.pre_tokenizer = pre_tokenizer(cut)
        library.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        library.train_from_iterator(texts, trainer)
        PreTrainedTokenizerFast(tokenizer_object=library, eos_token=END).save_pretrained(folder)
        library.encode_special_tokens = True
        fast = AutoTokenizer.from_pretrained(folder)

        def batch(texts: Sequence[str]) -> int:
            os.environ["TOKENIZERS_PARALLELISM"] = "true"
            return sum(
                len(one.ids) for one in library.encode_batch_fast(list(texts), add_special_tokens=False)
            )

        def transformers(texts: Sequence[str]) -> int:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            found = fast(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
            os.environ["TOKENIZERS_PARALLELISM"] = "true"
            return sum(map(len, found))

        return {
            "tokenizers encode_batch_fast": (threads, batch),
            "transformers fast tokenizer": (1, transformers),
        }

    return make


def pre_tokenizer(cut: str) -> Any:
    """GPT-2's words, Llama 3's, or both after each other, which tiktoken cannot do."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    if cut == "words":
        return ByteLevel(add_prefix_space=False)
    splits = [Split(Regex(LLAMA_3), "isolated")]
    if cut == "two":
        splits.insert(0, Split(Regex(r"\p{N}"), "isolated"))
    return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])


if __name__ == "__main__":
    main()
