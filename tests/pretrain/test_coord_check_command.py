"""`pretrain coord-check`: what it answers, what it refuses, and that its exit code is the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretrain.cli import main
from pretrain.config.load import load
from pretrain.coord_check.widths import choose_widths, family

SMALL = ("--steps", "2", "--seeds", "2", "--widths", "64,128", "model.num_hidden_layers=1")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as left:
        main(["coord-check", *arguments])
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, Path]:
    """A right model, measured once: exit code, picture and what was printed."""
    import contextlib

    folder = tmp_path_factory.mktemp("coord_check")
    picture, printed = folder / "check.png", folder / "check.json"
    with printed.open("w") as out, contextlib.redirect_stdout(out), pytest.raises(SystemExit) as left:
        main(["coord-check", "--config", "tiny_moe", *SMALL, "--plot", str(picture), "--json"])
    return int(left.value.code or 0), picture, printed


def test_a_right_model_passes(sound: tuple[int, Path, Path]) -> None:
    code, _, printed = sound
    found = json.loads(printed.read_text())
    assert code == 0
    assert found["ok"]
    assert found["setting"]["widths"] == [64, 128]
    assert found["setting"]["heads"] == [2, 4]
    assert found["setting"]["kv_heads"] == [1, 2]
    assert found["setting"]["intermediate_size"] == [64, 128]
    assert found["setting"]["head_dim"] == "32 (the config's is 64)"
    assert found["setting"]["seeds"] == [4, 2]


def test_everything_is_in_the_json(sound: tuple[int, Path, Path]) -> None:
    """Every kind, the router and the experts among them, with a size a width."""
    slopes = json.loads(sound[2].read_text())["slopes"]
    places = {(one["kind"], one["quantity"], one["layer"], one["update"]) for one in slopes}
    assert len(places) == len(slopes)
    assert {
        ("initial", "router logits", 0, 0),
        ("change", "expert output", 0, 2),
        ("change", "attention logits", 0, 1),
        ("update", "channel.router.weight", 0, 2),
        ("gradient", "channel.experts.down", 0, 1),
    } <= places
    assert all(len(one["sizes"]) == 2 for one in slopes)


def test_the_picture_is_one(sound: tuple[int, Path, Path]) -> None:
    assert sound[1].read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in sound[1].parent.iterdir() if file.suffix not in (".json", ".png")] == []


@pytest.mark.parametrize("error", ["mup.enabled=false", "model.logits_scaling=1"])
def test_a_wrong_model_is_named_and_fails(capsys: pytest.CaptureFixture[str], error: str) -> None:
    code, out, _ = run(capsys, "--config", "tiny_dense", *SMALL, error)
    assert code == 1
    words = " ".join(out.split())
    assert "LEFT" in words
    assert "target logits: change at update" in words
    if error == "mup.enabled=false":
        assert "layer 0: mixer.qkv.weight: own part at update" in words


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--widths", "64"), "a slope needs two or more"),
        (("--widths", "64,wide"), "'64,wide' is not a list of whole numbers"),
        (("--widths", "0,64"), "0 is not a width"),
        (("--widths", "64,100"), "multiples of 128; nearest to 64: 128, 100: 128"),
        (("--head-dim", "64", "--widths", "64,128"), "nearest to 64: 128"),
        (("--head-dim", "7"), "--head-dim: 7 is odd"),
        (("--device", "tpu"), "'tpu' is neither cpu nor cuda"),
        (("--lr", "0"), "--lr: 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    code, out, err = run(capsys, "--config", "tiny_moe", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("config", "asked", "head_dim", "widths"),
    [
        ("tiny_moe", None, 64, (128, 256, 512, 1024)),  # one KV head needs 128
        ("tiny_moe", (64, 512), 32, (64, 512)),
        ("tiny_dense", (64, 128), 32, (64, 128)),
        ("3b_moe", None, 64, (192, 384, 768, 1536)),  # three query heads to a KV head
        ("3b_moe", (96, 192), 32, (96, 192)),
    ],
)
def test_widths(config: str, asked: tuple[int, ...] | None, head_dim: int, widths: tuple[int, ...]) -> None:
    """The config's own ratios at every width."""
    options = load(config)
    of = family(options.model, asked, None)
    assert of.head_dim == head_dim
    assert choose_widths(of, asked) == widths
    for width in widths:
        shape = of.shape(width, options.mup, 64)
        assert shape.hidden_size == width
        assert shape.head_dim == head_dim
        assert shape.num_heads * options.model.num_key_value_heads == (
            shape.num_kv_heads * options.model.num_attention_heads
        )
        assert shape.intermediate_size * options.model.hidden_size == width * options.model.intermediate_size
        assert shape.logits_scaling == width / 256
        assert shape.attention_multiplier == 1 / head_dim
