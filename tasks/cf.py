"""Step `cf`: matrix factorisation of the train part -> a vector per item and per user."""

from tasks import paths
from tasks.step import Step, main


def run(step: Step) -> None:
    """Fit ALS on the interactions of part `train` and write cf.safetensors.

    Raises:
        DataError: nothing to fit, or the sequences do not belong to the id maps.
    """
    import numpy as np
    import polars as pl

    from ilm.cf.als import fit
    from ilm.cf.factors import save
    from ilm.data.schema import ITEM_IDS, SEQUENCES, USER_IDS, read_table
    from ilm.files import digest

    train = read_table(paths.SEQUENCES, SEQUENCES).filter(pl.col("part") == "train")
    fitted = fit(
        train["user_index"].to_numpy(),
        train["item_index"].to_numpy(),
        n_users=read_table(paths.USER_IDS, USER_IDS).height,
        n_items=read_table(paths.ITEM_IDS, ITEM_IDS).height,
        params=step.params.cf,
        item_map_hash=digest(paths.ITEM_IDS),
        user_map_hash=digest(paths.USER_IDS),
    )
    save(paths.CF_FACTORS, fitted.factors)

    for iteration, loss in enumerate(fitted.losses):
        step.log_metrics({"loss": loss}, iteration)
    for name in ("item", "user"):
        norms = np.linalg.norm(getattr(fitted.factors, f"{name}_factors"), axis=1)
        step.log_metrics(
            {f"{name}_norm_mean": float(norms.mean()), f"{name}_without_vector": float((norms == 0).sum())}
        )
    print(f"cf  {train.height:,} interactions  loss {fitted.losses[-1]:.4f}  space {fitted.factors.space_id}")


if __name__ == "__main__":
    main("cf", run)
