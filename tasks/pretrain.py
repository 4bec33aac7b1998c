"""Step `pretrain`: stage 1, the Q-Former learns item texts and co-consumption."""

from tasks import paths
from tasks.step import Step, main


def run(step: Step) -> None:
    """Pretrain by the recipe of params.yaml, from the latest checkpoint on if an earlier run was cut short."""
    from dataclasses import asdict

    from ilm.cf import factors as cf_factors
    from ilm.files import replaced
    from ilm.model.storage import QFormerCard, save_qformer
    from ilm.train.checkpoint import CheckpointStore, training_key
    from ilm.train.features import read_item_texts, read_pairs
    from ilm.train.stage1 import Stage1Data, pretrain

    factors = cf_factors.load(paths.CF_FACTORS)
    text_items, texts = read_item_texts(paths.ITEM_TEXT_PAIRS)
    data = Stage1Data(
        item_factors=factors.item_factors,
        user_factors=factors.user_factors,
        text_items=text_items,
        texts=texts,
        item_item=read_pairs(paths.ITEM_ITEM_PAIRS, "item_index", "neighbour_index"),
        user_item=read_pairs(paths.USER_ITEM_PAIRS, "user_index", "item_index"),
    )
    model_params, params = step.params.model, step.params.pretrain
    inputs = [paths.CF_FACTORS, paths.ITEM_TEXT_PAIRS, paths.ITEM_ITEM_PAIRS, paths.USER_ITEM_PAIRS]
    key = training_key([model_params.model_dump(), params.model_dump()], inputs)
    qformer, history = pretrain(
        data, model_params, params, CheckpointStore(paths.CHECKPOINTS / "pretrain", key), step.log_metrics
    )
    card = QFormerCard(factors.space_id, model_params.text_encoder, params.recipe, asdict(qformer.config))
    with replaced(paths.PRETRAINED) as folder:
        save_qformer(folder, qformer, card, history)


if __name__ == "__main__":
    main("pretrain", run)
