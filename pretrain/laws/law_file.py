"""A fitted law as a small JSON file, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pretrain.errors import UserError
from pretrain.files import replace
from pretrain.laws.annealing import Annealing
from pretrain.laws.curve_laws import Law
from pretrain.laws.curve_scores import Scores
from pretrain.laws.fitted_law import CurveReport, FittedLaw
from pretrain.laws.multi_power import MultiPower

FORMAT = 1
LAWS: Mapping[str, type[MultiPower] | type[Annealing]] = {"mpl": MultiPower, "annealing": Annealing}

UNSAID: Mapping[str, Any] = {
    "refits": (),
    "relative_error": 0.0,
    "objective": None,
    "fitted": (),
    "left_out": (),
    "batch_tokens": None,
    "notes": (),
}


def to_json(fitted: FittedLaw) -> dict[str, Any]:
    """Everything that `from_json` needs."""
    named = {"format": FORMAT, "law": fitted.law.NAME, "constants": asdict(fitted.law)}
    return named | {key: value for key, value in asdict(fitted).items() if key != "law"}


def from_json(value: Mapping[str, Any]) -> FittedLaw:
    """The law of `to_json`, or of `law` and `constants` alone.

    AttributeError, KeyError, TypeError or ValueError where it is none.
    """
    if value.get("format", FORMAT) != FORMAT:
        raise ValueError(f"format {value['format']} is not {FORMAT}")
    value = {**UNSAID, **value}
    cls = LAWS[value["law"]]
    return FittedLaw(
        law=_law(cls, value["constants"]),
        refits=tuple(_law(cls, one) for one in value["refits"]),
        relative_error=float(value["relative_error"]),
        objective=value["objective"],
        fitted=tuple(map(_report, value["fitted"])),
        left_out=tuple(map(_report, value["left_out"])),
        batch_tokens=value["batch_tokens"],
        notes=tuple(value["notes"]),
    )


def write(path: Path, fitted: FittedLaw) -> None:
    """Put it into a file."""
    try:
        replace(path, json.dumps(to_json(fitted), indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> FittedLaw:
    """The law in a file of `pretrain laws fit-curve --out`, or one by hand with `law` and `constants`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable JSON file ({error})") from error
    try:
        return from_json(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a law that `pretrain laws fit-curve --out` wrote ({type(error).__name__}: {error})"
        ) from error


def _law(cls: type[MultiPower] | type[Annealing], constants: Mapping[str, float]) -> Law:
    return cls(**{name: float(number) for name, number in constants.items()})


def _report(value: Mapping[str, Any]) -> CurveReport:
    return CurveReport(**{**value, "scores": Scores(**value["scores"])})
