"""Kill a run again and again in one phase of its work, and compare it with the run that was left alone.

    python tests/faults/hunt.py --kills 30 --ranks 2 --model dense --phase update --phase evaluate

For each phase runs are started, one of their ranks (or all at once) is killed inside the phase, and they are
started again, until they finish; then the next run, until so many kills have struck. Prints a line a phase;
exit code 1 where any run's metrics.jsonl differs by a byte from the undisturbed run's.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "end_to_end"), str(HERE.parents[1])]

from herd import preload, run_ranks  # noqa: E402
from phases import PHASES, arm  # noqa: E402
from trial import Trial  # noqa: E402

OVERRIDES = ("checkpoint.every_steps=3", "checkpoint.keep_last=2", "evaluate.every_steps=3")
KILLED = -9


@dataclass(frozen=True, kw_only=True)
class Hunted:
    """What came of one phase."""

    phase: str
    config: str
    ranks: int
    kills: int
    starts: int
    runs: int
    equal: int
    seconds: float


class Hunt:
    """Runs of one config on so many ranks, below a trial's folder."""

    def __init__(self, trial: Trial, config: str, ranks: int, overrides: list[str], seed: int) -> None:
        self.trial, self.config, self.ranks = trial, config, ranks
        roots = [
            f"{section}.root={trial.folder / name}" for section, name in (("run", "runs"), ("data", "data"))
        ]
        corpus = f"data.sources={{text: {{kind: jsonl, path: {trial.folder / 'corpus.jsonl'}}}}}"
        self.overrides = [*OVERRIDES, *roots, corpus, *overrides]
        self.draw = random.Random(seed)
        self.whole = self._whole()

    def _arguments(self, name: str) -> list[str]:
        config = str(self.trial.folder / f"{self.config}.yaml")
        return ["--config", config, "--quiet", f"run.name={name}", *self.overrides]

    def _whole(self) -> bytes:
        name = f"whole-{self.config}-{self.ranks}"
        ended = run_ranks(self._arguments(name), self.ranks, self.trial.folder / f"{name}.log")
        assert set(ended.codes) == {0}, (self.trial.folder / f"{name}.log").read_text()[-4000:]
        return self.trial.files(name).metrics

    def hunt(self, phase: str, kills: int) -> Hunted:
        """Kill in `phase` until `kills` have struck."""
        began = time.monotonic()
        struck = starts = runs = equal = 0
        while struck < kills:
            name = f"{phase}-{self.config}-{self.ranks}-{runs}"
            own_kills, own_starts = self._one_run(name, phase, kills - struck)
            struck, starts, runs = struck + own_kills, starts + own_starts, runs + 1
            same = self.trial.files(name).metrics == self.whole
            equal += same
            if not same:
                print(f"{name} differs from the run left alone; kept in {self.trial.folder}", flush=True)
        return Hunted(
            phase=phase,
            config=self.config,
            ranks=self.ranks,
            kills=struck,
            starts=starts,
            runs=runs,
            equal=equal,
            seconds=time.monotonic() - began,
        )

    def _one_run(self, name: str, phase: str, most: int) -> tuple[int, int]:
        """Start, and start again, until the run is finished; kills that struck and starts that it took."""
        struck = starts = 0
        log = self.trial.folder / f"{name}.log"
        while True:
            victims = self._victims() if struck < most else set()
            occurrence, seed = self._occurrence(phase), self.draw.getrandbits(32)

            def armed(rank: int, victims: set[int] = victims, at: int = occurrence, seed: int = seed) -> None:
                if rank in victims:
                    arm(phase, at, seed)

            ended = run_ranks(self._arguments(name), self.ranks, log, armed)
            starts += 1
            if any(ended.codes[rank] == KILLED for rank in victims):
                struck += 1
            elif set(ended.codes) == {0}:
                return struck, starts
            else:
                raise AssertionError(f"{name}: {ended.codes}\n{log.read_text()[-6000:]}")

    def _victims(self) -> set[int]:
        everyone = set(range(self.ranks))
        return everyone if self.draw.random() < 0.3 else {self.draw.choice(sorted(everyone))}

    def _occurrence(self, phase: str) -> int:
        """Later than the next checkpoint often enough for the run to get on."""
        longest = {"load": 40, "evaluate": 4, "save": 4, "read": 9, "update": 9, "forward-backward": 40}
        return self.draw.randrange(longest.get(phase, 1))


def main() -> int:
    """Hunt, and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30, help="in each phase")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--model", choices=("dense", "moe"), default="dense")
    parser.add_argument("--phase", choices=PHASES, action="append", help="default: all, one after the other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON value, a row a phase")
    parser.add_argument("overrides", nargs="*", help="section.key=value, for all runs")
    asked = parser.parse_intermixed_args()
    preload()
    folder = Path(tempfile.mkdtemp(prefix="hunt-"))
    hunt = Hunt(Trial(folder), asked.model, asked.ranks, asked.overrides, asked.seed)
    found = []
    for phase in asked.phase or PHASES:
        one = hunt.hunt(phase, asked.kills)
        found.append(one)
        line = f"{one.phase:17s} {one.kills:4d} kills, {one.starts:4d} starts, {one.equal} of {one.runs} runs"
        print(f"{line} equal, {one.seconds:.0f} s", file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps([asdict(one) for one in found]))
    return 0 if all(one.equal == one.runs for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
