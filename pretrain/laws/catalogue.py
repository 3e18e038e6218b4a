"""The published laws with what a reader must know of each: source, setting, range, unit trap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["mup", "standard", "other"]
Quantity = Literal["N", "D", "C", "beta", "tokens per parameter"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One law's place in the literature; ranges are those of the runs it was fitted on, nearly."""

    name: str
    paper: str
    kind: Kind  # whose rate it is: of the group with ratio 1, of every parameter, or of another optimiser
    setting: str
    trap: str
    ranges: tuple[tuple[Quantity, float, float], ...]

    def outside(self, values: dict[str, float]) -> tuple[str, ...]:
        """Where these values leave what the law was fitted on; values that are not known are not judged."""
        return tuple(
            f"{name} {values[name]:.3g}, fitted on {low:.3g} to {high:.3g}"
            for name, low, high in self.ranges
            if name in values and not low <= values[name] <= high
        )


POWER = Source(
    name="Power",
    paper="arXiv 2408.13359",
    kind="mup",
    setting="µP with base width 256, AdamW; the rate when D tokens are trained, before the decay",
    trap="beta is the batch in sequences of 4096, whatever the run's length; T is tokens, not steps",
    ranges=(("D", 2e9, 2.56e11), ("beta", 16, 512), ("N", 6e6, 9.65e7)),
)
STEP_LAW = Source(
    name="Step Law",
    paper="arXiv 2503.04715",
    kind="standard",
    setting="AdamW, weight decay 0.1, cosine to a fixed 1e-5, the peak",
    trap="the released tables count the batch in sequences of 2048, the law in tokens",
    ranges=(("N", 6e7, 1.1e9), ("D", 2e9, 1e11)),
)
DEEPSEEK = Source(
    name="DeepSeek",
    paper="arXiv 2401.02954",
    kind="standard",
    setting="AdamW, weight decay 0.1, steps at 80 and 90 %, the peak",
    trap="C counts attention and no embeddings: (72 layers width^2 + 12 layers width sequence) D, not 6ND",
    ranges=(("C", 1e17, 2e19),),
)
MINICPM = Source(
    name="MiniCPM",
    paper="arXiv 2404.06395",
    kind="mup",
    setting="µP, WSD; the peak was about 0.01 at every size",
    trap="the batch follows the loss that is reached, in tokens",
    ranges=(("N", 9e6, 2.1e9),),
)
PORIAN = Source(
    name="Porian",
    paper="arXiv 2406.19146",
    kind="standard",
    setting="AdamW, constant rate, tuned at 20 tokens per parameter",
    trap="its N counts the output head; the batch is in tokens",
    ranges=(("N", 5e6, 9e8), ("tokens per parameter", 10, 40)),
)
OLMO = Source(
    name="OLMo ladder",
    paper="arXiv 2412.04403",
    kind="standard",
    setting="AdamW, weight decay 0.1, cosine to a tenth, the peak",
    trap="the formula's rate is four times the peak that the runs used; the batch is in sequences of 2048",
    ranges=(("N", 1.9e8, 1.3e9), ("tokens per parameter", 10, 200)),
)
KAPLAN = Source(
    name="Kaplan",
    paper="arXiv 2001.08361",
    kind="standard",
    setting="Adam, cosine to 0, the peak; the batch is the critical one at the loss that is reached",
    trap="2e8 tokens over loss^4.76; a copy with 2e18 is wrong; the rate turns negative near N = 1e10",
    ranges=(("N", 768, 1.5e9), ("D", 2.2e7, 2.3e10)),
)
SCION = Source(
    name="Scion",
    paper="arXiv 2510.03871",
    kind="other",
    setting="the norm-based optimiser Scion, so that its rate compares with no AdamW rate",
    trap="the batch is in sequences of 4096",
    ranges=(("D", 2**31, 2**37), ("beta", 8, 4096)),
)
BJORCK = Source(
    name="Bjorck",
    paper="arXiv 2409.19913",
    kind="standard",
    setting="moves a rate that was tuned at another number of tokens, at the same batch",
    trap="at one batch of 0.5M tokens; along a batch that grows with D the best rate may rise instead",
    ranges=(("N", 5e7, 2.7e9),),
)
POWER_LINES = Source(
    name="Power Lines",
    paper="arXiv 2505.13738",
    kind="mup",
    setting="µP with base width 256, base peak 1.62e-2, linear to 0; the weight decay sets AdamW's window",
    trap="the window takes the rate of hidden matrices, not the base one; batches count sequences of 2048",
    ranges=(("N", 1.1e8, 3.3e9),),
)
SCHAIPP = Source(
    name="Schaipp batch",
    paper="arXiv 2607.01487",
    kind="standard",
    setting="the batch alone; a band four times as wide costs at most 5 % of compute",
    trap="in tokens",
    ranges=(),
)
