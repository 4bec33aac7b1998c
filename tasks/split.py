"""Step `split`: k-core, append-only id maps, ordered histories cut into train, valid and test."""

from dataclasses import asdict

from ilm.data import schema
from ilm.data.catalogue import build_catalogue
from ilm.data.id_maps import extend, read_previous
from ilm.data.split import count, cut, fitted_until, in_order, k_core, sequences, tied_fraction, with_known_items
from ilm.files import write_json
from tasks.paths import CATALOGUE, INTERACTIONS, ITEM_IDS, ITEMS, PREVIOUS, SEQUENCES, SPLIT, USER_IDS
from tasks.step import Step, main


def run(step: Step) -> None:
    """Cut the interactions by section `split`, and write maps, catalogue and sequences."""
    params = step.params.split
    interactions = schema.read_table(INTERACTIONS, schema.INTERACTIONS)
    items = schema.read_table(ITEMS, schema.ITEMS, with_text=True)
    previous_users, previous_items = read_previous(PREVIOUS)

    known = with_known_items(interactions, items)
    kept = in_order(k_core(known, params.min_user_interactions, params.min_item_interactions), params)
    user_ids, item_ids = extend(previous_users, kept["user_id"]), extend(previous_items, kept["item_id"])
    part = cut(kept, params)
    histories, until = sequences(kept, part, user_ids, item_ids), fitted_until(kept, part)

    schema.write_table(user_ids, USER_IDS)
    schema.write_table(item_ids, ITEM_IDS)
    schema.write_table(build_catalogue(item_ids, items, kept["item_id"]), CATALOGUE)
    schema.write_table(histories, SEQUENCES)
    write_json(SPLIT, {"strategy": params.strategy, "fitted_until": until and until.isoformat()})

    before, after = count(interactions), count(kept)
    parts = {str(part): rows for part, rows in histories["part"].value_counts().iter_rows()}
    tied = tied_fraction(kept, params)
    print(
        f"split  {before.users:,} users, {before.items:,} items, {before.interactions:,} interactions -> "
        f"{after.users:,}, {after.items:,}, {after.interactions:,} ({params.strategy})",
        flush=True,
    )
    print(f"split  {tied:.1%} of interactions share their moment with another one of the same user", flush=True)
    step.log_metrics({**asdict(after), **parts, "tied_fraction": tied, "known_users": len(user_ids)})


if __name__ == "__main__":
    main("split", run)
