"""Blocked implicit ALS of Spark MLlib, on cores of this machine or on a standalone cluster.

Same confidences as `implicit`: Spark takes c = 1 + alpha * rating, with rating 1. Another penalty: it multiplies lambda
by the number of interactions of a row (ALS-WR; Zhou et al. 2008), `implicit` does not. Where all users have n_u
interactions and all items n_i, Spark's objective with

    lambda / sqrt(n_u n_i),  and its items times (n_i / n_u)^(1/4), its users divided by that,

is `implicit`'s with lambda, score by score. We take the means for n_u and n_i, so that on real data frequent rows are
held shorter and rare ones longer than by `implicit` (docs/decisions/cf-backends.md measures what this does).
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilm.cf.backends import Learned
from ilm.cf.backends.spark_session import session
from ilm.params import CfParams

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from scipy.sparse import csr_matrix

CHECKPOINT_EVERY = 5
"""Iterations after which what was reached is written down: a lost worker costs at most so many."""
_FEWEST_BLOCKS, _MOST_BLOCKS, _BLOCK = 8, 500, 2_000_000
"""Blocks of users, and as many of items: one per so many interactions. They depend on the data alone, not on the
cluster; up to 8, the sums of a fit have one order (docs/decisions/cf-backends.md)."""
_ROWS = 1_000_000
"""Of a group in the Parquet file that Spark reads."""


def learn(user_items: "csr_matrix", params: CfParams, start: NDArray[np.float32] | None, threads: int) -> Learned:
    """Item vectors after `iterations`, always from the beginning; see `learn_items`. Spark tells no losses.

    Raises:
        ConfigError: PySpark or Java is missing, or no cluster answers at `spark_master`.
        IlmError: Spark failed.
    """
    regularization, scale = equal_setting(user_items, params.regularization)
    blocks = int(np.clip(user_items.nnz // _BLOCK, _FEWEST_BLOCKS, _MOST_BLOCKS))
    with session(params) as (spark, folder):
        from pyspark.ml.recommendation import ALS

        als = ALS(
            rank=params.factors,
            maxIter=params.iterations,
            regParam=regularization,
            alpha=params.alpha,
            implicitPrefs=True,
            seed=params.seed,
            numUserBlocks=blocks,
            numItemBlocks=blocks,
            checkpointInterval=CHECKPOINT_EVERY,
            userCol="user",
            itemCol="item",
            ratingCol="rating",
        )
        _write_interactions(user_items, folder / "interactions.parquet")
        ratings = spark.read.parquet((folder / "interactions.parquet").as_uri()).selectExpr("*", "1.0f AS rating")
        with _progress(spark, params.iterations):
            found = als.fit(ratings).itemFactors.toArrow()
    item_factors = np.zeros((user_items.shape[1], params.factors), dtype=np.float32)
    vectors = found["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    item_factors[found["id"].to_numpy()] = vectors.reshape(-1, params.factors)
    return Learned(item_factors * np.float32(scale), params.iterations, [])


def equal_setting(user_items: "csr_matrix", regularization: float) -> tuple[float, float]:
    """Spark's lambda, and the factor for its item vectors, that stand for `implicit`'s lambda; see above."""
    of_users, of_items = (user_items.nnz / count for count in user_items.shape)
    return regularization / float(np.sqrt(of_users * of_items)), float((of_items / of_users) ** 0.25)


def _write_interactions(user_items: "csr_matrix", path: Path) -> None:
    """One row (user, item) per entry, users in order; a few at a time, so that memory does not grow with them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("user", pa.int32()), ("item", pa.int32())])
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, user_items.nnz, _ROWS):
            entries = np.arange(begin, min(begin + _ROWS, user_items.nnz))
            users = np.searchsorted(user_items.indptr, entries, side="right") - 1
            columns = [users.astype(np.int32), user_items.indices[entries].astype(np.int32)]
            writer.write_table(pa.table(columns, schema=schema))


@contextmanager
def _progress(spark: "SparkSession", iterations: int) -> Iterator[None]:
    """A bar on a terminal. Each iteration of ALS has two Spark jobs, after two that lay out the blocks."""
    from tqdm import tqdm

    if not sys.stderr.isatty():
        yield
        return
    tracker, done = spark.sparkContext.statusTracker(), threading.Event()
    with tqdm(total=iterations, desc="spark", unit="iteration") as bar:

        def follow() -> None:
            while not done.wait(1.0):
                jobs = len(tracker.getJobIdsForGroup(None))
                bar.update(min(iterations, max(0, jobs - 2) // 2) - bar.n)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            done.set()
            follower.join()
