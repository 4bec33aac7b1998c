"""Step `finetune`: stage 2, encoder, adapter and retrieval head learn in front of the frozen language model."""

from tasks import paths
from tasks.step import Step, main


def run(step: Step) -> None:
    """Train on the mixture of tasks, from the latest checkpoint on if an earlier run was cut short."""
    from ilm.train.run_finetune import FinetuneInputs, run_finetune

    run_finetune(
        FinetuneInputs(paths.CF_FACTORS, paths.CATALOGUE, paths.EXAMPLES, paths.USER_ITEM_PAIRS, paths.PRETRAINED),
        paths.FINETUNED,
        step.params.model.model_dump(),
        step.params.finetune.model_dump(),
        step.params.pairs.max_history,
        paths.CHECKPOINTS / "finetune",
        step.log_metrics,
    )


if __name__ == "__main__":
    main("finetune", run)
