"""Step `finetune`: stage 2, Q-Former, adapter and retrieval head learn in front of the frozen language model."""

from tasks import paths
from tasks.step import Step, main


def run(step: Step) -> None:
    """Train on all recommendation tasks, from the latest checkpoint on if an earlier run was cut short.

    Raises:
        ArtifactError: Q-Former and CF factors are of different spaces, or the language model was not left as it was.
    """
    import torch

    from ilm.cf import factors as cf_factors
    from ilm.cf.fold_in import UserFoldIn
    from ilm.errors import ArtifactError
    from ilm.files import replaced
    from ilm.model.bridge import Bridge
    from ilm.model.language_model import load_language_model
    from ilm.model.storage import BridgeCard, load_qformer, save_bridge
    from ilm.prompts.rendering import title_tokens
    from ilm.prompts.templates import TASKS
    from ilm.train.checkpoint import CheckpointStore, training_key
    from ilm.train.features import read_examples, read_titles
    from ilm.train.stage2 import Stage2Data, finetune

    factors = cf_factors.load(paths.CF_FACTORS)
    qformer, pretrained = load_qformer(paths.PRETRAINED)
    cf_factors.require_space(factors, pretrained.space_id, str(paths.PRETRAINED))
    model_params, params = step.params.model, step.params.finetune
    max_history = step.params.pairs.max_history
    language_model = load_language_model(model_params.llm)
    before = language_model.weights_digest()

    torch.manual_seed(params.seed)
    items = len(factors.item_factors)
    model = Bridge(qformer.config, language_model, items, model_params.soft_tokens, params.item_embedding)
    model.encoder.load_state_dict(qformer.query_state(), strict=True)
    data = Stage2Data(
        item_factors=factors.item_factors,
        fold_in=UserFoldIn(factors.item_factors, factors.regularization, factors.alpha),
        examples={task: read_examples(paths.EXAMPLES, task, "train") for task in TASKS},
        titles=title_tokens(language_model, read_titles(paths.CATALOGUE), params.max_answer_tokens),
        max_history=max_history,
    )
    settings = [model_params.model_dump(), params.model_dump(), max_history, language_model.sha256]
    key = training_key(settings, [paths.CF_FACTORS, paths.CATALOGUE, paths.EXAMPLES, paths.PRETRAINED])
    history = finetune(model, data, params, CheckpointStore(paths.CHECKPOINTS / "finetune", key), step.log_metrics)

    if language_model.weights_digest() != before:
        raise ArtifactError(f"language model '{language_model.name}': its weights changed while it should be frozen.")
    card = BridgeCard(
        space_id=factors.space_id,
        language_model=language_model.name,
        language_model_sha256=language_model.sha256,
        items=items,
        soft_tokens=model_params.soft_tokens,
        item_embedding=params.item_embedding,
        max_history=max_history,
        recipe=pretrained.recipe,
        qformer=pretrained.qformer,
    )
    with replaced(paths.FINETUNED) as folder:
        save_bridge(folder, model, card, history)


if __name__ == "__main__":
    main("finetune", run)
