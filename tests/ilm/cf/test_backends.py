"""Every CF backend passes the same battery by being listed once; and says plainly what it lacks."""

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ilm.cf.alignment import mean_cosine
from ilm.cf.als import Fit, fit
from ilm.cf.backends.spark_mllib import equal_setting
from ilm.cf.factors import space_identity
from ilm.cf.fold_in import UserFoldIn
from ilm.errors import ConfigError
from ilm.params import CfParams
from tests.ilm.cf.regular_matrix import SETTINGS, from_item_vectors, half, regular_matrix

needs_spark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="the extra `spark` is not installed"),
    pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java"),
]
has_gpu = importlib.util.find_spec("rmm") is not None and shutil.which("nvidia-smi") is not None
BACKENDS = [
    "implicit-cpu",
    pytest.param("implicit-gpu", marks=pytest.mark.skipif(not has_gpu, reason="no GPU, or rmm is not installed")),
    pytest.param("spark", marks=needs_spark),
]
N_USERS, N_ITEMS, LACKING = 43, 33, 3


@cache
def pairs() -> np.ndarray:
    """[n, 2] users 0 to 39 and items 0 to 29; three more of each have none. Two tastes, and some noise."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 40, 400), rng.integers(0, 30, 400)
    return np.stack([users, np.where(rng.random(400) < 0.9, items // 2 * 2 + users % 2, items)], axis=1)


@cache
def folder() -> str:
    import atexit
    import tempfile

    made = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def params(backend: str, **settings: object) -> CfParams:
    return CfParams.model_validate(
        {"backend": backend, "factors": 4, "iterations": 10, "spark_folder": folder(), "spark_memory": "512m"}
        | settings
    )


def run(backend: str, rows: np.ndarray, **more: object) -> Fit:
    users, items = rows.T.astype(np.int32)
    sizes = {"n_users": N_USERS, "n_items": N_ITEMS}
    return fit(users, items, **sizes, params=params(backend), item_map_hash="i", user_map_hash="u", **more)


@cache
def first(backend: str) -> Fit:
    return run(backend, pairs())


@pytest.mark.parametrize("backend", BACKENDS)
def test_vectors_have_a_row_per_id_and_zeros_for_what_nobody_met(backend: str) -> None:
    factors = first(backend).factors
    assert (factors.item_factors.shape, factors.user_factors.shape) == ((N_ITEMS, 4), (N_USERS, 4))
    assert factors.item_factors.dtype == factors.user_factors.dtype == np.float32
    assert np.flatnonzero(~factors.item_factors.any(axis=1)).tolist() == [30, 31, 32]
    assert np.flatnonzero(~factors.user_factors.any(axis=1)).tolist() == [40, 41, 42]


@pytest.mark.parametrize("backend", BACKENDS)
def test_metadata_are_those_of_the_settings_and_the_space_is_named_by_them(backend: str) -> None:
    factors, settings = first(backend).factors, params(backend)
    metadata = {
        "regularization": settings.regularization,
        "alpha": settings.alpha,
        "iterations": settings.iterations,
        "seed": settings.seed,
        "item_map_hash": "i",
        "user_map_hash": "u",
    }
    assert {name: getattr(factors, name) for name in metadata} == metadata
    assert factors.space_id == space_identity(factors.item_factors, **metadata)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_taste_scores_its_own_items_higher(backend: str) -> None:
    factors = first(backend).factors
    scores = factors.user_factors[:40] @ factors.item_factors[:30].T
    own = np.arange(40)[:, None] % 2 == np.arange(30) % 2
    assert scores[own].mean() > scores[~own].mean() + 0.3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_user_vector_is_what_serving_computes_from_the_history(backend: str) -> None:
    factors, settings = first(backend).factors, params(backend)
    histories = [pairs()[pairs()[:, 0] == user, 1].astype(np.int32) for user in range(40)]
    fold_in = UserFoldIn(factors.item_factors, settings.regularization, settings.alpha)
    assert np.allclose(fold_in(histories), factors.user_factors[:40], atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_loss_is_not_above_the_default_backends(backend: str) -> None:
    """It may be below: Spark solves exactly where `implicit` takes three steps of conjugate gradients."""
    assert 0 < first(backend).losses[-1] <= 1.02 * first("implicit-cpu").losses[-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_neither_order_nor_repetition_of_interactions_counts(backend: str) -> None:
    again = run(backend, np.repeat(pairs()[::-1], 2, axis=0)).factors
    if backend == "implicit-gpu":  # equal up to rounding there
        assert np.allclose(again.item_factors, first(backend).factors.item_factors, atol=1e-3)
    else:
        assert again.item_factors.tobytes() == first(backend).factors.item_factors.tobytes()
        assert again.space_id == first(backend).factors.space_id


@pytest.mark.parametrize("backend", BACKENDS)
def test_going_on_from_other_coordinates_ends_in_them_and_changes_no_score_by_it(backend: str) -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype(np.float32)
    anchor = first(backend).factors.item_factors[:32] @ turn  # the map has grown by an item since
    after = run(backend, pairs(), start=anchor, anchor=anchor).factors
    known = slice(0, 30)
    assert mean_cosine(after.item_factors[known], anchor[known]) > 0.9
    before = first(backend).factors
    scores, earlier = (f.user_factors[:40] @ f.item_factors[known].T for f in (after, before))
    assert np.corrcoef(scores.ravel(), earlier.ravel())[0, 1] > 0.97


def test_sparks_penalty_is_translated_so_that_on_a_regular_matrix_the_solutions_are_one() -> None:
    """ALS-WR by hand, as Spark does it: lambda times a row's number of interactions, 4 for users and 8 for items."""
    penalty, scale = equal_setting(regular_matrix(), SETTINGS["regularization"])
    items = np.random.default_rng(0).normal(size=(12, SETTINGS["factors"])).astype(np.float32)
    for _ in range(SETTINGS["iterations"]):
        users = half(items, regular_matrix(), 4 * penalty)
        items = half(users, regular_matrix().T.tocsr(), 8 * penalty)
    assert np.abs(items).max() > 0.1
    np.testing.assert_allclose(from_item_vectors(scale * items), scale * items, atol=1e-4)
    assert np.abs(from_item_vectors(items) - items).max() > 1e-2, "unscaled they are no solution"


# What a backend lacks.


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValidationError, match="implicit-cpu"):
        params("dask")


@pytest.mark.parametrize("master", ["local[0]", "yarn", "spark://host", "localhost:7077", "local[2]; rm"])
def test_a_master_that_is_not_supported_is_refused(master: str) -> None:
    with pytest.raises(ValidationError, match="spark_master"):
        params("spark", spark_master=master)


@pytest.mark.parametrize("master", ["local", "local[4]", "local[*]", "spark://10.0.0.1:7077"])
def test_masters_that_are_supported(master: str) -> None:
    assert params("spark", spark_master=master).spark_master == master


def test_without_pyspark_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ConfigError, match=r"pip install 'item-language-model\[spark\]'.* implicit-cpu"):
        run("spark", pairs())


@pytest.fixture
def some_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", sys)  # its presence is all that is looked at before Java's


@pytest.mark.usefixtures("some_pyspark")
def test_without_java_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"needs Java 17 or later; JAVA_HOME is not set .*apt install openjdk-17"):
        run("spark", pairs())


@pytest.mark.usefixtures("some_pyspark")
@pytest.mark.parametrize(("version", "said"), [("11.0.2", "is 11"), ("1.8.0_292", "is 8")])
def test_an_older_java_is_refused(version: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin/java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=f"needs Java 17 or later; .* {said}"):
        run("spark", pairs())


@pytest.mark.usefixtures("some_pyspark")
def test_a_java_home_without_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"bin/java does not run"):
        run("spark", pairs())


def test_a_master_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from ilm.cf.backends import spark_session

    monkeypatch.setattr(spark_session, "require_spark", lambda: None)
    with (
        pytest.raises(ConfigError, match=r"cf.spark_master spark://127.0.0.1:1: nothing answers there"),
        spark_session.session(params("spark", spark_master="spark://127.0.0.1:1")),
    ):
        pass


@pytest.mark.parametrize(
    ("rmm", "said"),
    [(False, "pip install rmm-cu13"), (True, "no CUDA device answers, or `implicit` was built without")],
)
def test_without_a_gpu_the_message_says_what_is_missing(
    rmm: bool, said: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    import implicit.gpu

    monkeypatch.setattr(implicit.gpu, "HAS_CUDA", False)
    monkeypatch.setattr(implicit.gpu, "HAS_RMM", rmm)
    with pytest.raises(ConfigError, match=f"cf.backend implicit-gpu: .*{said}.* implicit-cpu"):
        run("implicit-gpu", pairs())
    assert not recwarn.list


def test_the_default_backend_asks_for_no_other_engine() -> None:
    code = (
        "import sys, numpy as np; sys.modules.update(pyspark=None, rmm=None)\n"
        "from ilm.cf.als import fit; from ilm.params import CfParams; i = np.arange(9, dtype='i4')\n"
        "fit(i % 3, i, n_users=3, n_items=9, params=CfParams(factors=2), item_map_hash='i', user_map_hash='u')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
