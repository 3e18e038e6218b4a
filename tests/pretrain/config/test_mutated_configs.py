"""Whatever YAML is given, the answer is a config or one message, never a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.config.derive import derive
from pretrain.config.document import parse, write
from pretrain.config.load import dump, find, load
from pretrain.errors import UserError

BASE, _ = parse(find("tiny_moe").read_text(encoding="utf-8"))
KEYS = ["name", "kind", "run", "tokens", "python", "hidden_size", "stages", "zz", "0", "", "warmup_tokens"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    st.sampled_from(
        ["power", "wsd", "cosine", "python", "jsonl", "10.5B", "-1M", "1e999999999", "bf16", "ß", ".", ""]
    ),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def paths_in(value: object, above: tuple = ()) -> list[tuple]:
    """The way to every node of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, item in inner for path in paths_in(item, (*above, key)))]


def changed(document: object, path: tuple, value: object, action: str) -> object:
    """A copy of `document` in which the node at `path` is replaced or removed, or has a neighbour."""
    if not path:
        return value
    key, *rest = path
    items = list(document.items() if isinstance(document, dict) else enumerate(document))
    if not rest and action == "remove":
        items = [item for item in items if item[0] != key]
    elif not rest and action == "misspell":
        items = [(f"{name}x" if name == key else name, item) for name, item in items]
    else:
        items = [
            (name, changed(item, tuple(rest), value, action) if name == key else item) for name, item in items
        ]
    return (
        {str(name): item for name, item in items}
        if isinstance(document, dict)
        else [item for _, item in items]
    )


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """The text of tiny_moe with one to four of its nodes replaced, removed or misspelt."""
    document = BASE
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(paths_in(document)))
        action = draw(st.sampled_from(["replace", "remove", "misspell"]))
        document = changed(document, path, draw(VALUES), action)
    return write(document)


@QUICK
@given(text=mutants())
def test_mutated_configs(tmp_path: Path, text: str):
    loads_or_explains(tmp_path, text)


@QUICK
@given(text=st.text(max_size=80) | st.text(alphabet="ab:-[]{}&*!<>|'\"\n \t#1.", max_size=80))
def test_any_text(tmp_path: Path, text):
    loads_or_explains(tmp_path, text)


@QUICK
@given(
    overrides=st.lists(
        st.text(max_size=20)
        | st.builds("{}.{}={}".format, st.sampled_from(KEYS), st.sampled_from(KEYS), st.text(max_size=9)),
        min_size=1,
        max_size=4,
    )
)
def test_any_overrides(overrides):
    message = complaint("tiny_moe", overrides)
    assert message is None or "problem" in message


def loads_or_explains(folder: Path, text: str) -> None:
    """A config that can be planned and dumped, or a message with at least one line that says something."""
    file = folder / "mutated.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    message = complaint(str(file))
    if message is not None:
        first, *lines = message.split("\n")
        assert str(file) in first
        assert all(len(line.split()) >= 3 for line in lines), message
        return
    config = load(str(file))
    assert derive(config).steps >= 1
    file.write_text(dump(config), encoding="utf-8")
    assert load(str(file)) == config


def complaint(name: str, overrides: Sequence[str] = ()) -> str | None:
    """What is said against a config, if anything is; another exception than UserError passes through."""
    try:
        load(name, overrides)
    except UserError as error:
        return str(error)
    return None


def test_mutations_do_change():
    assert changed(BASE, ("run", "seed"), 5, "replace")["run"]["seed"] == 5
    assert "seed" not in changed(BASE, ("run", "seed"), 5, "remove")["run"]
    assert "seedx" in changed(BASE, ("run", "seed"), 5, "misspell")["run"]
    assert len(changed(BASE, ("stages", 0), None, "remove")["stages"]) == 1
