"""Step `pretrain`: stage 1, the Q-Former learns item texts and co-consumption; other encoders just start.

Where the CF space goes on and nothing else changed, the earlier encoder is taken as it is.
"""

import shutil

from tasks import paths
from tasks.launch import in_processes, launch
from tasks.previous import reusable
from tasks.step import Step, main


def run(step: Step) -> None:
    """Pretrain by the recipe of params.yaml, from the latest checkpoint on if an earlier run was cut short."""
    earlier = reusable(paths.PRETRAINED.name, ["model", "pretrain"], step.params)
    if earlier is not None:
        from ilm.files import replaced

        with replaced(paths.PRETRAINED) as folder:
            shutil.copytree(earlier, folder)
        print("pretrain  the earlier encoder is used again: the CF space has not moved away from it", flush=True)
        return
    if in_processes(step):
        launch(step, "pretrain", paths.PRETRAINED)
        return
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
