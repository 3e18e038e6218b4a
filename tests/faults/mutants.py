"""Plan configs that were mutated at random, and count what is answered.

    python tests/faults/mutants.py --configs 500 --seed 7

Each is given to `pretrain plan --config FILE --json`: one JSON value and exit code 0, or one message and exit
code 2. Anything else is printed with its config, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "pretrain" / "config"), str(HERE.parents[1])]

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from test_mutated_configs import mutants  # noqa: E402

from pretrain.cli import main as pretrain  # noqa: E402

LIMIT_SECONDS = 60
PLANNED, REFUSED = "planned, exit code 0", "one message, exit code 2"


def too_long(number: int, frame: object) -> NoReturn:
    """No config may take so long to plan."""
    raise TimeoutError(f"more than {LIMIT_SECONDS} seconds")


def answer(file: Path) -> tuple[str, str]:
    """What kind of answer `pretrain plan` gives, and its text."""
    output, errors = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_SECONDS)
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            pretrain(["plan", "--config", str(file), "--json"])
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        return "a traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
    if code == 0 and isinstance(json.loads(output.getvalue()), dict):
        return PLANNED, output.getvalue()
    said = errors.getvalue()
    if code == 2 and said.startswith("pretrain: ") and "Traceback" not in said and not output.getvalue():
        return REFUSED, said
    return f"exit code {code}", said


def answers(number: int, first: int) -> Counter[str]:
    """How often each kind of answer is given to so many configs; those that are none are printed."""
    counted: Counter[str] = Counter()
    quiet = list(HealthCheck)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mutated.yaml"

        @seed(first)
        @settings(
            max_examples=number,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=quiet,
        )
        @given(text=mutants())
        def ask(text: str) -> None:
            file.write_bytes(text.encode("utf-8", "surrogatepass"))
            kind, said = answer(file)
            counted[kind] += 1
            if kind not in (PLANNED, REFUSED):
                print(f"{kind}\n{text}\n{said}", flush=True)

        ask()
    return counted


def main() -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--configs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    counted = answers(asked.configs, asked.seed)
    for kind, count in counted.most_common():
        print(f"{count:4d}  {kind}")
    return 0 if set(counted) <= {PLANNED, REFUSED} else 1


if __name__ == "__main__":
    sys.exit(main())
