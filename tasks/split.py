"""Step `split`: k-core, append-only id maps, ordered histories cut into train, valid and test."""

from dataclasses import asdict

from ilm.data import schema
from ilm.data.catalogue import build_catalogue
from ilm.data.coded_log import read_coded
from ilm.data.histories import write_histories
from ilm.data.id_maps import extend, read_previous
from ilm.data.split import count, known_at_cut, what_counts
from ilm.files import write_json
from tasks.paths import CATALOGUE, INTERACTIONS, ITEM_IDS, ITEMS, PREVIOUS, SEQUENCES, SPLIT, USER_IDS
from tasks.step import Step, main


def run(step: Step) -> None:
    """Cut the interactions by section `split`, and write maps, catalogue and sequences."""
    params = step.params.split
    items = schema.read_table(ITEMS, schema.ITEMS, with_text=True)
    interactions, before = read_coded(INTERACTIONS, items)
    previous_users, previous_items = read_previous(PREVIOUS)

    kept = what_counts(interactions, params)
    del interactions
    known = known_at_cut(kept.drop("timestamp", "order"), params)
    user_ids, item_ids = previous_users, previous_items
    for rows in (known, kept):  # who and what comes later gets later numbers, and moves none
        user_ids, item_ids = extend(user_ids, rows["user_id"]), extend(item_ids, rows["item_id"])
    known_items = known["item_id"].unique()
    del known

    schema.write_table(user_ids, USER_IDS)
    schema.write_table(item_ids, ITEM_IDS)
    schema.write_table(build_catalogue(item_ids, items, known_items), CATALOGUE)
    histories = write_histories(kept, user_ids, item_ids, params, SEQUENCES)
    until = histories.fitted_until
    write_json(SPLIT, {"strategy": params.strategy, "fitted_until": until and until.isoformat()})

    after = count(kept)
    tied = histories.tied / histories.rows
    print(
        f"split  {before.users:,} users, {before.items:,} items, {before.interactions:,} interactions -> "
        f"{after.users:,}, {after.items:,}, {after.interactions:,} ({params.strategy})",
        flush=True,
    )
    print(f"split  {tied:.1%} of interactions share their moment with another one of the same user", flush=True)
    step.log_metrics({**asdict(after), **histories.parts, "tied_fraction": tied, "known_users": len(user_ids)})


if __name__ == "__main__":
    main("split", run)
