"""One model against the holdout: its folder is checked and loaded, every case ranked over what it could know."""

from collections.abc import Set
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ilm.data.schema import CATALOGUE, read_table
from ilm.errors import ArtifactError
from ilm.eval.metrics import MISSED, per_user
from ilm.eval.protocol import Cases, Recommender, target_ranks
from ilm.gate.holdout import Holdout
from ilm.gate.scores import Scores
from ilm.params import Params
from ilm.rank.head import load_recommender
from ilm.serve import bundle

TASK = "sequential"
Result: TypeAlias = tuple[Scores, NDArray[np.int32]]
"""What a model achieved, and the ranks [n] of all cases' targets, items that the user has seen left out;
`ilm.eval.metrics.MISSED` for a target that the model cannot know."""


def score(folder: Path, holdout: Holdout, current: Set[str], params: Params, name: str) -> Result:
    """Rank every case by the model in a folder that `ilm.serve.bundle` wrote.

    The user's vector is folded in from the history before the cut, whatever the model knew of the user when it was
    fitted. Memory: the model and one batch of scores.

    Args:
        folder: of the model.
        holdout: at least one case.
        current: ids of today's items.
        params: sections gate, split, pairs and evaluate are used.
        name: of the model, in messages.

    Raises:
        ArtifactError: the folder is not whole, its files do not belong together, or a score is NaN.
        DataError: the model knows no item that could be recommended.
    """
    bundle.verify(folder)
    catalogue = read_table(folder / bundle.CATALOGUE, CATALOGUE, with_text=True)
    recommender = load_recommender(folder / bundle.MODEL, folder / bundle.FACTORS, params.evaluate.batch_size)
    if recommender.card.items != len(catalogue):
        raise ArtifactError(
            f"{folder}: the model knows {recommender.card.items:,} items, its catalogue {len(catalogue):,}. "
            "Restore the folder, or train again."
        )
    return ranked(recommender, catalogue, holdout, current, params, name)


def ranked(
    recommender: Recommender, catalogue: pl.DataFrame, holdout: Holdout, current: Set[str], params: Params, name: str
) -> Result:
    """Rank every case, in the numbering of the recommender's catalogue, and sum up.

    A candidate is an active item of the catalogue that had at least `split.min_item_interactions` interactions before
    the cut. The catalogue may have been chosen with knowledge of what came after the cut (the k-core counts the whole
    log); by that count, the choice is one that could have been made at the cut. A target that is no candidate is
    missed, and no case is left out.
    """
    place = _places(holdout, catalogue)  # [p]
    rankable = holdout.met >= params.split.min_item_interactions  # [p]
    candidates = np.zeros(len(catalogue), dtype=np.bool_)
    candidates[place[(place >= 0) & rankable]] = True

    at = place[holdout.targets]
    seen = [known[known >= 0] for known in (place[items] for items in holdout.seen)]
    cases = Cases(
        user_index=np.arange(len(at), dtype=np.int32),
        targets=np.maximum(at, 0),  # any item stands in for one that the model does not know: it is missed below
        histories=[items[-params.pairs.max_profile :] for items in seen],
        seen=seen,
    )
    ranking = target_ranks(recommender, TASK, cases, candidates, params.evaluate.batch_size, name)
    ranks = np.where(at >= 0, ranking.filtered, MISSED).astype(np.int32)

    listed = np.unique(ranking.top[ranking.top >= 0])
    titled = catalogue["title"].fill_null("").str.strip_chars().str.len_chars().to_numpy() > 0
    ids = catalogue["item_id"]
    target_met = holdout.met[holdout.targets]
    rare = rankable[holdout.targets] & (target_met <= params.gate.cold_interactions)
    users, values = len(holdout.users), per_user(ranks)
    scores = Scores(
        users=list(holdout.users),
        metrics={name: _means(of, holdout.user, users) for name, of in values.items()},
        rare_targets=np.bincount(holdout.user, rare, users).astype(np.int64),
        rare_metrics={name: _means(of[rare], holdout.user[rare], users) for name, of in values.items()},
        coverage=len(listed) / int(rankable.sum()),
        invalid_items=sum(not titled[item] or ids[item] not in current for item in listed.tolist()),
    )
    return scores, ranks


def _means(values: NDArray[np.float64], user: NDArray[np.int32], users: int) -> NDArray[np.float64]:
    """[users]: mean over the cases of each; 0 for a user without one."""
    return np.bincount(user, values, users) / np.maximum(np.bincount(user, minlength=users), 1)


def _places(holdout: Holdout, catalogue: pl.DataFrame) -> NDArray[np.int32]:
    """[p]: index of the holdout's items among the active ones of the catalogue; -1 for those it does not have."""
    active = catalogue.filter("active").select("item_id", "item_index")
    items = pl.DataFrame({"item_id": list(holdout.item_ids)}, schema={"item_id": pl.String})
    joined = items.join(active, on="item_id", how="left", maintain_order="left", validate="1:1")
    return joined["item_index"].fill_null(-1).to_numpy().astype(np.int32)
