"""One of the ranks that the doctor starts by itself: measures with the others, and the first one tells.

python -m pretrain.doctor.worker RANKS.json FOLDER...
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pretrain.ranks import Ranks


def main() -> None:
    """Print what was measured as one JSON value, and leave at once: helpers' threads may hang at the end."""
    from pretrain.doctor.measure import measure

    ranks = Ranks(**json.loads(sys.argv[1]))
    found = measure(ranks, [Path(folder) for folder in sys.argv[2:]])
    if ranks.first:
        print(json.dumps([one.to_json() for one in found]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
