"""Step `split`: k-core, append-only id maps, ordered histories cut into train, valid and test."""

from dataclasses import asdict

from ilm.data import schema
from ilm.data.catalogue import build_catalogue
from ilm.data.coded_log import code_log
from ilm.data.histories import write_histories
from ilm.data.id_maps import extend, read_previous
from ilm.data.split import what_counts
from ilm.files import scratch, write_json
from tasks.paths import CATALOGUE, INTERACTIONS, ITEM_IDS, ITEMS, PREVIOUS, SEQUENCES, SPLIT, USER_IDS
from tasks.step import Step, main


def run(step: Step) -> None:
    """Cut the interactions by section `split`, and write maps, catalogue and sequences."""
    params = step.params.split
    items = schema.read_table(ITEMS, schema.ITEMS, with_text=True)
    user_ids, item_ids = read_previous(PREVIOUS)
    with scratch(INTERACTIONS) as folder:
        log, before = code_log(INTERACTIONS, items, folder)
        kept = what_counts(log, params)
        known, later = kept.known, (kept.user_rows > 0, kept.item_rows > 0)
        for users, items_ in ((known.users, known.items), later):  # what comes later gets later numbers, and moves none
            user_ids, item_ids = extend(user_ids, log.users.filter(users)), extend(item_ids, log.items.filter(items_))

        schema.write_table(user_ids, USER_IDS)
        schema.write_table(item_ids, ITEM_IDS)
        schema.write_table(build_catalogue(item_ids, items, log.items.filter(known.items)), CATALOGUE)
        histories = write_histories(log, kept, user_ids, item_ids, params, SEQUENCES)
    until = histories.fitted_until
    write_json(SPLIT, {"strategy": params.strategy, "fitted_until": until and until.isoformat()})

    after, tied = kept.counts, histories.tied / histories.rows
    print(
        f"split  {before.users:,} users, {before.items:,} items, {before.interactions:,} interactions -> "
        f"{after.users:,}, {after.items:,}, {after.interactions:,} ({params.strategy})",
        flush=True,
    )
    print(f"split  {tied:.1%} of interactions share their moment with another one of the same user", flush=True)
    step.log_metrics({**asdict(after), **histories.parts, "tied_fraction": tied, "known_users": len(user_ids)})


if __name__ == "__main__":
    main("split", run)
