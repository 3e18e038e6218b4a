"""Every shipped config: it loads and plans, is the paper's, and explains each of its keys."""

from __future__ import annotations

import pytest
import yaml

from pretrain.config.load import find, load, names
from pretrain.config.places import find_place
from pretrain.config.schema import Config
from pretrain.plan import plan

VOCABULARY = "model.vocab_size=49152"
PARAMETERS = {  # total, active, active outside the embedding
    "proxy_12m": (12_329_088, 12_329_088, 6_037_632),
    "proxy_36m": (36_716_800, 36_716_800, 24_133_888),
    "proxy_121m": (121_668_096, 121_668_096, 96_502_272),
    "1b_dense": (1_208_083_968, 1_208_083_968, 1_132_586_496),
    "1b_moe": (1_334_625_280, 428_655_616, 378_323_968),
    "3b_dense": (3_510_819_072, 3_510_819_072, 3_397_572_864),
    "3b_moe": (3_298_788_864, 882_869_760, 807_372_288),
}
TOKENS = {"1b_dense": 1e12, "1b_moe": 1e12, "3b_dense": 1.25e12, "3b_moe": 3e12}
WIDTH_RATIOS = {
    "3b_dense": 9,
    "3b_moe": 6,
    "1b_dense": 6,
    "1b_moe": 4,
    "proxy_121m": 2,
    "proxy_36m": 1,
    "proxy_12m": 0.5,
}
RESIDUAL = {"3b_dense": 0.22, "3b_moe": 0.22, "1b_dense": 0.22, "1b_moe": 0.28}


def test_all_are_there():
    assert set(names()) == {*PARAMETERS, "tiny_dense", "tiny_moe"}


@pytest.mark.parametrize("name", names())
def test_loads_and_plans_under_its_own_name(name):
    made = plan(load(name))
    assert made.name == name
    assert len(made.stages) == 2
    assert made.tokens == made.steps * made.batch_tokens
    assert made.lr[-1] == (made.tokens, 0.0)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_papers(name):
    counts = plan(load(name, [VOCABULARY])).parameters
    assert (counts.total, counts.active, counts.active_non_embedding) == PARAMETERS[name]
    assert counts == plan(load(name)).parameters


@pytest.mark.parametrize("name", PARAMETERS)
def test_values_of_the_paper(name):
    config, made = load(name), plan(load(name), num_ranks=8)
    assert made.batch_tokens == (128 if name.startswith("proxy") else 1024) * 4096
    assert made.tokens == pytest.approx(TOKENS.get(name, 32e9), abs=2 * made.batch_tokens)
    assert (config.mup.init_std, config.mup.base_width, config.model.embedding_multiplier) == (0.1, 256, 12)
    assert config.model.residual_multiplier == RESIDUAL.get(name, 0.26)
    ratios = {group.name: group.lr_ratio for group in made.groups}
    assert ratios["hidden"] == pytest.approx(1 / WIDTH_RATIOS[name])
    assert ratios["embedding"] == ratios["norm"] == 1


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_large_runs_fit_8_gpus_and_the_proxies_one(name):
    num_ranks = 1 if name.startswith("proxy") else 8
    assert plan(load(name), num_ranks).memory.total < 70 * 2**30


@pytest.mark.parametrize("name", names())
def test_every_key_stands_under_its_meaning(name):
    text = find(name).read_text(encoding="utf-8")
    lines = text.split("\n")
    for path, line in _keys(yaml.compose(text)):
        above = []
        while line and lines[line - 1].lstrip().startswith("#"):
            line -= 1
            above.insert(0, lines[line].lstrip("# "))
        field = find_place(Config, _with_tag(path)).field
        if field is not None and field.description and path[:2] != ("stages", 1):
            assert field.description in " ".join(above), (name, path)


def _with_tag(path: tuple) -> tuple:
    """The path as pydantic has it, with the class that was chosen in it."""
    tags = {("schedule",): "power", ("data", "tokenizer"): "sentencepiece"}
    for above, tag in tags.items():
        if path[: len(above)] == above and len(path) > len(above):
            return (*above, tag, *path[len(above) :])
    return path


def _keys(node: yaml.Node, above: tuple = ()):
    """The path and line of every key that leads to a value or a section with a meaning of its own."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*above, key.value), key.start_mark.line
            yield from _keys(value, (*above, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _keys(item, (*above, index))
