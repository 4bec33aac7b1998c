"""The named benchmarks: which data they take, and which sizes."""

import json
from pathlib import Path

import pytest

from flows.bench import with_overrides
from flows.presets import BENCHMARKS, data_settings, require_sizes
from ilm.data.coded_log import Counts
from ilm.errors import ConfigError, DataError
from ilm.params import Params


@pytest.mark.parametrize(
    ("name", "files", "settings"),
    [
        ("ml-1m", ["ratings.dat", "movies.dat"], {"source": "movielens-1m"}),
        ("ml-1m", ["interactions.parquet"], {"source": "folder"}),
        ("beauty", ["reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"], {"source": "amazon"}),
        ("clothing", ["interactions.csv"], {"source": "folder"}),
    ],
)
def test_data_are_recognised_by_their_files(tmp_path: Path, name: str, files: list[str], settings: dict) -> None:
    for file in files:
        (tmp_path / file).touch()
    assert data_settings(BENCHMARKS[name], tmp_path) == settings | {"folder": str(tmp_path)}


def test_folder_without_the_data_is_a_message_that_says_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(DataError, match=r"(?s)not the data of ml-1m. Needed: ml-1m.zip.*There: holiday.jpg"):
        data_settings(BENCHMARKS["ml-1m"], tmp_path)
    with pytest.raises(DataError, match="not found"):
        data_settings(BENCHMARKS["beauty"], tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="say where the data are"):
        data_settings(BENCHMARKS["beauty"], None)
    with pytest.raises(ConfigError, match="its data are built in"):
        data_settings(BENCHMARKS["movielens-small"], tmp_path)


@pytest.mark.parametrize(("name", "sizes"), [("ml-1m", (6040, 3416, 999611)), ("beauty", (22363, 12101, 198502))])
def test_published_sizes_are_accepted_and_a_difference_of_one_is_not(name: str, sizes: tuple[int, int, int]) -> None:
    require_sizes(BENCHMARKS[name], Counts(*sizes))
    for place in range(3):
        with pytest.raises(DataError, match="OpenP5"):
            require_sizes(BENCHMARKS[name], Counts(*(size + (number == place) for number, size in enumerate(sizes))))


def test_every_preset_is_settings_that_exist() -> None:
    for benchmark in BENCHMARKS.values():
        texts = [f"{s}.{k}={json.dumps(v)}" for s, values in benchmark.settings.items() for k, v in values.items()]
        assert with_overrides(Params(), texts)
