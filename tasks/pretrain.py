"""Step `pretrain`: stage 1, the Q-Former learns item texts and co-consumption; other encoders just start."""

from tasks import paths
from tasks.step import Step, main


def run(step: Step) -> None:
    """Pretrain by the recipe of params.yaml, from the latest checkpoint on if an earlier run was cut short."""
    from ilm.train.run_pretrain import PretrainInputs, run_pretrain

    run_pretrain(
        PretrainInputs(paths.CF_FACTORS, paths.ITEM_TEXT_PAIRS, paths.ITEM_ITEM_PAIRS, paths.USER_ITEM_PAIRS),
        paths.PRETRAINED,
        step.params.model.model_dump(),
        step.params.pretrain.model_dump(),
        paths.CHECKPOINTS / "pretrain",
        step.log_metrics,
    )


if __name__ == "__main__":
    main("pretrain", run)
