"""Step `finetune`: stage 2, encoder, adapter and retrieval head learn in front of the frozen language model."""

from tasks import paths
from tasks.launch import in_processes, launch
from tasks.previous import reusable
from tasks.step import Step, main


def run(step: Step) -> None:
    """Train on the mixture of tasks, from the latest checkpoint on if an earlier run was cut short."""
    from ilm.cf.drift import load_drift
    from ilm.files import digest
    from ilm.train.run_finetune import FinetuneInputs, run_finetune, run_reuse

    inputs = FinetuneInputs(paths.CF_FACTORS, paths.CATALOGUE, paths.EXAMPLES, paths.USER_ITEM_PAIRS, paths.PRETRAINED)
    earlier = (
        None
        if step.params.model.encoder == "text"
        else reusable(paths.FINETUNED.name, ["model", "finetune", "pairs.max_history"], step.params)
    )
    if earlier is not None and digest(paths.PREVIOUS / paths.PRETRAINED.name) != digest(paths.PRETRAINED):
        print("finetune  not gone on from the earlier model: it has another encoder", flush=True)
        earlier = None
    if earlier is not None and load_drift(paths.DRIFT).decision == "reuse":
        run_reuse(inputs, earlier, paths.FINETUNED)
        print("finetune  the earlier model is used again, on the new vectors", flush=True)
        return
    if in_processes(step):
        launch(step, "finetune", paths.FINETUNED, earlier)
        return
    run_finetune(
        inputs,
        paths.FINETUNED,
        step.params.model.model_dump(),
        step.params.finetune.model_dump(),
        step.params.pairs.max_history,
        paths.CHECKPOINTS / "finetune",
        step.log_metrics,
        earlier,
    )


if __name__ == "__main__":
    main("finetune", run)
