"""The same model asked in words that it was trained with and in words that it was not (OpenP5's unseen prompts)."""

from collections.abc import Mapping
from typing import Any

from ilm.eval.protocol import Ranking
from ilm.eval.summary import headline, significance


def seen_and_unseen(
    seen: Mapping[str, Ranking], unseen: Mapping[str, Ranking], *, samples: int, seed: int
) -> dict[str, Any]:
    """What the wording of the prompt is worth.

    Args:
        seen: task -> ranking with the first seen prompt.
        unseen: likewise with the unseen prompt, on the same cases.
        samples: resamples of the users, and sign flips.
        seed: of both.

    Returns:
        task -> {"seen", "unseen": setting -> metric -> mean; "seen_minus_unseen": setting -> metric -> paired test}.

    Raises:
        DataError: they have different users.
    """
    rankings = {"seen": seen, "unseen": unseen}
    means = headline(rankings)
    tests = significance(rankings, "seen", samples=samples, seed=seed)["paired"]["seen_minus_unseen"]
    return {
        task: {"seen": means["seen"][task], "unseen": means["unseen"][task], "seen_minus_unseen": tests[task]}
        for task in seen
    }
