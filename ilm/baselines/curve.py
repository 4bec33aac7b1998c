"""How good a training was after how many seconds: its checks against the valid part, told and kept while it runs.

They lie beside the trained model and not in it: equal trainings give equal models, not equal seconds.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from ilm.errors import ArtifactError
from ilm.files import write_text

MARK = "held_out_"
"""Values of these names come from a check."""

Check = dict[str, float]
"""{"step": steps done, "seconds": of training until then, all attempts; "loss", "hr_at_10", "ndcg_at_10": held out}"""


def recording(path: Path, label: str, log: Callable[[dict[str, float], int], None]) -> Callable[[Check, int], None]:
    """A `log` for a training, that also prints each check and appends it to `path`.

    A training that goes on from a saved state goes on here as well, where that state was.

    Args:
        path: JSON Lines, a check each.
        label: printed before a check.
        log: called as before.
    """
    started = time.monotonic()
    earlier: list[Check] | None = None

    def record(values: dict[str, float], step: int) -> None:
        nonlocal earlier
        if earlier is None:
            earlier = [check for check in read_curve(path) if check["step"] <= step]
            write_text(path, "".join(json.dumps(check) + "\n" for check in earlier))
        log(values, step)
        found = {name.removeprefix(MARK): value for name, value in values.items() if name.startswith(MARK)}
        if found:
            before = earlier[-1]["seconds"] if earlier else 0.0
            check = {"step": step + 1, "seconds": round(before + time.monotonic() - started, 1)} | found
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(check) + "\n")
            shown = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
            print(f"{label}  step {step + 1}  {check['seconds']:,.0f} s  valid: {shown}", flush=True)

    return record


def read_curve(path: Path) -> list[Check]:
    """The checks so far; none where nothing was recorded.

    Raises:
        ArtifactError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        return [dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: damaged ({error}). Delete it; the trained model does not need it.") from None
