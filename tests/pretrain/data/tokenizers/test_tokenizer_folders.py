"""Folders of transformers tokenizers: what decides ids, what is copied, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from library_tokenizers import END, NFC, WORDS, save, theirs, trained
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models
from tokenizers import pre_tokenizers as pre

from pretrain.data.options import DataOptions
from pretrain.data.prepare import open_corpus, prepare
from pretrain.data.progress import SilentProgress
from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.tokenizer_options import TransformersOptions
from pretrain.data.tokenizers.definition import read_definition
from pretrain.data.tokenizers.making import make_tokenizer, tokenizer_identity
from pretrain.data.tokenizers.probes import probes
from pretrain.errors import UserError


@pytest.mark.parametrize("marked", [True, False])
def test_the_end_token_is_the_configs(folders: dict[str, Path], tmp_path: Path, marked: bool) -> None:
    """And is a control token even where tokenizer.json says nothing of the kind."""
    folder = Path(shutil.copytree(folders["gpt2"], tmp_path / "t"))
    content = json.loads((folder / "tokenizer.json").read_text())
    if not marked:
        content["added_tokens"] = [{**token, "special": False} for token in content["added_tokens"]]
        (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|pad|>"}}))
    ours = load_tokenizer(folder)
    assert ours.end_id == 1
    assert 1 not in ours.encode("a<|pad|>b")
    assert ours.decode([1, *ours.encode("<|pad|>"), 1]) == "<|pad|>"
    assert ours.token_bytes()[1] == 0
    (folder / "tokenizer_config.json").unlink()
    if marked:
        assert load_tokenizer(folder).end_id == 0  # the only one with the name of an end
    else:
        with pytest.raises(UserError, match=r"Set eos_token in tokenizer_config\.json to a control token"):
            load_tokenizer(folder)


def test_the_hash_is_of_what_decides_ids(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["gpt2"], tmp_path / "t"))
    before = read_definition(folder).sha256
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({"eos_token": END, "chat_template": "x", "model_max_length": 7}))
    assert load_tokenizer(folder).sha256 == load_tokenizer(folders["gpt2"]).sha256 == before
    config.write_text(json.dumps({"eos_token": "<|pad|>"}))
    assert load_tokenizer(folder).sha256 != before
    assert len({read_definition(each).sha256 for each in folders.values()}) == len(folders)


def test_a_run_gets_a_copy_of_its_own(folders: dict[str, Path], tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    options = TransformersOptions(kind="transformers", path=str(folders["starcoder"]))
    make_tokenizer(options, pytest.fail, made)
    copy = TransformersOptions(kind="transformers", path=str(made))
    assert tokenizer_identity(copy) == tokenizer_identity(options)
    assert load_tokenizer(made).encode("x = 12") == load_tokenizer(folders["starcoder"]).encode("x = 12")
    assert copy.vocab_size == load_tokenizer(made).vocab_size == 2000


def lossy(name: str, corpus: list[str]) -> Library:
    """Tokenizers of which each loses something else."""
    if name == "nfc":
        return trained(corpus, **NFC)
    if name == "prefix":
        return trained(corpus, pre.ByteLevel(add_prefix_space=True))
    if name == "wordpiece":
        vocabulary = {word: token for token, word in enumerate(["[UNK]", END, "hello", "##o", "a"])}
        library = Library(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
        library.pre_tokenizer, library.decoder = pre.BertPreTokenizer(), decoders.WordPiece()
        return library
    pieces = [("<unk>", 0.0), (END, 0.0), *((f"<0x{byte:02X}>", 0.0) for byte in range(256))]
    library = Library(
        models.Unigram([*pieces, ("▁", -2.0), ("a", -3.0), ("▁a", -4.0)], 0, byte_fallback=True)
    )
    library.pre_tokenizer = pre.Metaspace(prepend_scheme="never", split=False)
    library.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never"), decoders.Fuse()]
    )
    return library


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nfc", [r"'e\u0301 a\u030a", r"comes back as '\xe9", "normalizer, NFC, changes"]),
        ("prefix", ["comes back as ' ", "ByteLevel(add_prefix_space)"]),
        ("wordpiece", ["model, WordPiece, knows no bytes", "[UNK]"]),
        ("metaspace", [r"\u2581", "Metaspace"]),
    ],
)
def test_what_loses_text_is_refused(corpus: list[str], tmp_path: Path, name: str, words: list[str]) -> None:
    library = lossy(name, corpus)
    library.add_special_tokens([END])
    folder = save(library, tmp_path / name)
    options = TransformersOptions(kind="transformers", path=str(folder))
    with pytest.raises(UserError, match=r"^data\.tokenizer\.path: .*cannot be used") as refused:
        make_tokenizer(options, pytest.fail, tmp_path)
    assert all(word in str(refused.value) for word in words), refused.value
    assert str(refused.value).isascii() or name == "wordpiece"


def test_a_model_that_makes_control_tokens_of_text_is_refused(tmp_path: Path) -> None:
    names = [*sorted(pre.ByteLevel.alphabet()), "ab"]
    vocabulary = {name: token for token, name in enumerate(names)}
    library = Library(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    library.pre_tokenizer, library.decoder = WORDS, decoders.ByteLevel()
    folder = save(library, tmp_path / "t", eos_token="ab")
    with pytest.raises(UserError, match="makes the control token ab"):
        make_tokenizer(TransformersOptions(kind="transformers", path=str(folder)), pytest.fail, tmp_path)


def test_what_cannot_be_read_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = [
        (folders["gpt2"].parent / "gpt", "is not a folder .* Did you mean 'gpt2'"),
        (empty, r"no readable tokenizer\.json.*save_pretrained"),
    ]
    for number, (content, config, words) in enumerate(
        [
            ("{", {}, "is not JSON"),
            ("[]", {}, "JSON object"),
            ("{}", {}, "not what the tokenizers library writes"),
            (None, {"eos_token": "</s>"}, "has tokens that tokenizer.json has not: </s>"),
            (None, {"added_tokens_decoder": {"9": {"content": "<x>"}}}, "has not: <x>"),
        ]
    ):
        folder = Path(shutil.copytree(folders["gpt2"], tmp_path / str(number)))
        if content is not None:
            (folder / "tokenizer.json").write_text(content)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        cases.append((folder, words))
    for folder, words in cases:
        options = TransformersOptions(kind="transformers", path=str(folder))
        with pytest.raises(UserError, match=rf"^data\.tokenizer\.path: .*{words}"):
            tokenizer_identity(options)
        with pytest.raises(UserError, match=r"^data\.tokenizer\.path: "):
            _ = options.vocab_size


def test_probes_are_the_same_every_time_and_of_all_kinds() -> None:
    one = list(probes())
    assert one == list(probes())
    assert len(set("".join(one))) > 10_000
    assert all(text.encode() is not None for text in one)


def test_a_run_is_prepared_with_it(
    folders: dict[str, Path], tmp_path: Path, corpus_options: Callable[..., DataOptions]
) -> None:
    """And goes on without the folder that it came from."""
    original = Path(shutil.copytree(folders["starcoder"], tmp_path / "original"))
    options = corpus_options(60, tokenizer={"kind": "transformers", "path": str(original)})
    corpus = prepare(options, say=lambda _: None, progress=SilentProgress())
    shutil.rmtree(original)
    wanted = theirs(folders["starcoder"])
    shard = corpus.sources["some"].train
    for number in range(shard.num_documents):
        *ids, end = shard.document(number).tolist()
        assert (ids, end) == (wanted(corpus.tokenizer.decode(ids)), corpus.tokenizer.end_id)
    (copy,) = (Path(options.root) / "tokenizers").iterdir()
    again = corpus_options(60, tokenizer={"kind": "transformers", "path": str(copy)})
    assert open_corpus(again).fingerprint() == corpus.fingerprint()
    with pytest.raises(UserError, match=r"data\.tokenizer\.path: .* is not a folder"):
        open_corpus(options)
