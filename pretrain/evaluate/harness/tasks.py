"""Tasks by name: those that the harness brings, and those of a folder; loaded, asked, and counted."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pretrain.errors import UserError, nearest
from pretrain.evaluate.harness.results import Result, results

if TYPE_CHECKING:
    from pretrain.evaluate.harness.language_model import DecoderLM

INSTALL = 'pip install "pretrain-power[eval]"'
PYTHON_SEED, OTHER_SEED = 0, 1234  # the harness's own, of its command line
STDERR_DRAWS = 100_000
FOLDERS = (
    *("arc", "super_glue/boolq", "hellaswag", "openbookqa", "piqa", "winogrande", "mmlu/default"),
    *("gsm8k", "humaneval", "mbpp", "wikitext"),
)
_UNSAFE = (
    "task '{name}' executes what the model writes. Where you want that, in a place where it can do no harm: "
    "--confirm-run-unsafe-code, with HF_ALLOW_CODE_EVAL=1 in the environment."
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person asks for."""

    tasks: tuple[str, ...]
    folder: Path | None = None  # of more tasks, beside those that the harness brings
    limit: int | None = None  # documents of each task
    num_fewshot: int | None = None  # None: each task's own
    run_code: bool = False  # whether tasks may execute what the model writes


class Tasks:
    """Loaded tasks. On one rank: data are read, and perhaps downloaded, here."""

    def __init__(self, asked: Asked) -> None:
        check_installed("evaluate")
        self.asked = asked
        with _quiet():
            manager = _manager(asked)
            _seed()
            self._loaded = {name: _load(manager, name, run_code=asked.run_code) for name in asked.tasks}
            for loaded in self._loaded.values():
                _prepare(loaded["tasks"], asked)
            self._drawn = _random_state()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the results: tasks, and groups with a mean of their own; what is in such a group is left out."""
        return tuple(name for loaded in self._loaded.values() for name in _outer(loaded))

    def results(self, model: DecoderLM) -> Iterator[Mapping[str, Result]]:
        """Of one name after another, with the tasks of a group beside it. GivenUp where all ranks stop.

        Random numbers are as after loading, every time, and the process's own are as before.
        """
        from lm_eval.evaluator import evaluate

        for name, loaded in self._loaded.items():
            with _quiet(), _restored_random_state(), _told_of_overflow(name):
                _set_random_state(self._drawn)
                found = evaluate(
                    model,
                    loaded,
                    limit=self.asked.limit,
                    bootstrap_iters=STDERR_DRAWS if _all_means(loaded["tasks"]) else 0,
                    log_samples=False,
                    confirm_run_unsafe_code=self.asked.run_code,
                )
            yield results(found, limit=self.asked.limit)


def check_installed(key: str) -> None:
    """UserError where the harness is not there; `key` is what asks for it."""
    if find_spec("lm_eval") is None:
        raise UserError(f"{key}: needs lm-eval-harness, which is not installed: {INSTALL}")


def harness_version() -> str:
    """Name and version of the harness."""
    from importlib.metadata import version

    return f"lm_eval {version('lm_eval')}"


def _manager(asked: Asked) -> Any:
    if asked.folder and not asked.folder.is_dir():
        raise UserError(f"tasks folder '{asked.folder}': no such folder.")
    folder = str(asked.folder) if asked.folder else None
    for places in ((folder,), (*_papers(), folder)):  # few files; the harness has fifteen thousand
        manager = _index(tuple(filter(None, places)), False)
        if all(name in manager.task_index and _stands_alone(name, manager) for name in asked.tasks):
            return manager
    manager = _index((folder,) if folder else (), True)
    for name in asked.tasks:
        if name not in manager.task_index:
            raise UserError(
                f"no task is named '{name}'.{nearest(name, manager.all_tasks)} A folder with more of them "
                "is named with --tasks-folder, or evaluate.tasks_folder."
            )
    return manager


def _papers() -> list[str]:
    """The harness's folders of the tasks that are asked for most."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    return [str(root / name) for name in FOLDERS if (root / name).is_dir()]


def _stands_alone(name: str, manager: Any) -> bool:
    """Whether it needs no other task, which may be in another folder."""
    return name == "mmlu" or manager.task_index[name].kind.name == "TASK"


@lru_cache(maxsize=4)  # reading the harness's own fifteen thousand takes a while
def _index(folders: tuple[str, ...], with_own: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=list(folders), include_defaults=with_own)


def _load(manager: Any, name: str, *, run_code: bool) -> dict[str, Any]:
    """A task or group with its data; whatever keeps it from loading is told with what to do about it."""
    if (manager.task_index[name].cfg or {}).get("unsafe_code") and not run_code:
        raise UserError(_UNSAFE.format(name=name))  # before its data are looked for
    try:
        loaded: dict[str, Any] = manager.load([name])
    except Exception as error:  # of networks, caches, readers of data, and the task's own code
        why = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, FileNotFoundError):
            why += f" (paths in its YAML are seen from the folder of the command, {Path.cwd()})"
        raise UserError(
            f"task '{name}' cannot be loaded: {why:.300}\nIts data have to be in the cache (HF_HOME; with "
            "HF_DATASETS_OFFLINE=1 and HF_HUB_OFFLINE=1 nothing else is tried), or the hub within reach, or "
            "the task in a folder of your own with its data: --tasks-folder, evaluate.tasks_folder. "
            "docs/evaluate.md says how to prepare a machine without network."
        ) from error
    return loaded


def _prepare(tasks: Mapping[str, Any], asked: Asked) -> None:
    """The number of examples in a prompt, and leave to run code, as the harness's own command sees to it."""
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False) and not asked.run_code:
            raise UserError(_UNSAFE.format(name=name))
        own = task.get_config("num_fewshot")
        if asked.num_fewshot is not None and own != 0:  # 0 is a task's way to say that it has none
            task.set_config(key="num_fewshot", value=asked.num_fewshot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=OTHER_SEED)


def _outer(loaded: Mapping[str, Any]) -> Sequence[str]:
    groups = loaded.get("groups") or {}
    inner = {name for names in (loaded.get("group_map") or {}).values() for name in names}
    outer = [name for name in (*groups, *loaded["tasks"]) if name not in inner]
    return list(dict.fromkeys(shown for name in outer for shown in _shown(loaded, name)))


def _shown(loaded: Mapping[str, Any], name: str) -> Sequence[str]:
    """A task or group that has results; of a group that only gathers names, those that have."""
    group = (loaded.get("groups") or {}).get(name)
    if group is None or _has_mean(group):
        return [name]
    return [shown for child in loaded["group_map"][name] for shown in _shown(loaded, child)]


def _has_mean(group: Any) -> bool:
    """Whether it asks for a mean of something that a task in it measures."""
    measured = {metric for task in group.get_all_tasks() for metric in task.aggregation()}
    return any(wanted.metric in measured for wanted in group.aggregate_metric_list or ())


def _all_means(tasks: Mapping[str, Any]) -> bool:
    """Whether standard errors have closed forms: the others are drawn in processes that are forked."""
    from lm_eval.api.metrics import mean, stderr_for_metric

    functions = [function for task in tasks.values() for function in task.aggregation().values()]
    return all(function is mean or stderr_for_metric(function, 1) is None for function in functions)


@contextmanager
def _told_of_overflow(name: str) -> Iterator[None]:
    """The harness's perplexity is a plain exponential, which raises where no float holds it."""
    try:
        yield
    except OverflowError:
        raise UserError(
            f"task '{name}': its perplexity is more than a number can hold; this model has diverged, or the "
            "task's words are very long."
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Only what is wrong, and that on standard error: standard output is for results."""
    import datasets
    from lm_eval.api import task
    from tqdm import tqdm

    for name in ("lm_eval", "datasets", "evaluate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    task.tqdm = partial(tqdm, disable=True)  # nothing else keeps the harness from drawing it
    with redirect_stdout(sys.stderr):
        yield


def _seed() -> None:
    random.seed(PYTHON_SEED)
    np.random.seed(OTHER_SEED)  # noqa: NPY002 - tasks draw from it
    torch.manual_seed(OTHER_SEED)


def _random_state() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _set_random_state(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])


@contextmanager
def _restored_random_state() -> Iterator[None]:
    state = _random_state()
    try:
        yield
    finally:
        _set_random_state(state)
