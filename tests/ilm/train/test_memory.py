"""How much memory a training will take is told before it begins, and what does not fit is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ilm import free_memory
from ilm.errors import ArtifactError, ConfigError
from ilm.params import FinetuneParams, ModelParams
from ilm.train import memory
from ilm.train.memory import Shape, estimate, memory_at_hand, read_shape, require_memory
from ilm.train.run_pretrain import PretrainInputs, run_pretrain
from tests.tiny import save_language_model

LARGE = Shape(layers=32, width=4096, inner=14336, vocabulary=128_256, weights=8_030_000_000, quantisable=6_980_000_000)
"""Of the Llama 3 with 8 thousand million weights."""
FINETUNING = FinetuneParams().model_dump()


def settings(**changes: object) -> dict[str, Any]:
    return ModelParams().model_dump() | changes


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return save_language_model(tmp_path / "llama")


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB free, whose container may use 4 GB, and has 3 of them, 2 of these for files it has read."""
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    for name, text in (
        ("max", "4000000000"),
        ("current", "3000000000"),
        ("stat", "anon 1\ninactive_file 2000000000\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(free_memory, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "CONTAINER", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_sizes_are_those_of_the_loaded_model(tmp_path: Path, architecture: str) -> None:
    folder = save_language_model(tmp_path / "model", architecture)
    model = AutoModelForCausalLM.from_pretrained(folder)
    shape = read_shape(folder)
    assert shape.weights == model.num_parameters()
    assert (shape.layers, shape.width, shape.vocabulary) == (2, 16, model.config.vocab_size)


def test_four_bits_are_counted_for_the_matrices_of_the_layers_alone(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama)
    layers = [module for module in model.model.layers.modules() if isinstance(module, torch.nn.Linear)]
    assert read_shape(llama).quantisable == sum(module.weight.numel() for module in layers)


@pytest.mark.parametrize(
    ("changes", "gigabytes"), [({}, 32.1), ({"precision": "bf16"}, 16.1), ({"quantisation": "nf4"}, 8.1)]
)
def test_weights_of_a_large_model_take_their_number_times_their_size(changes: dict[str, str], gigabytes: float) -> None:
    """8.03 times 4 or 2 bytes; or 6.98 times 4.5 bits and 1.05 times 4 bytes."""
    need = estimate(LARGE, settings(**changes), None, 0, 0)
    assert need.weights / 1e9 == pytest.approx(gigabytes, abs=0.1)


def test_what_grows_grows_in_the_estimate() -> None:
    def total(finetuning: dict[str, Any] = FINETUNING, items: int = 3500) -> int:
        return estimate(LARGE, settings(), finetuning, 20, items).total

    assert total(FINETUNING | {"gradient_accumulation": 4}) < total() < total(FINETUNING | {"step_tokens": 4000})
    assert total() < total(items=1_000_000)


def test_layers_that_are_spread_take_their_share_and_two_whole_layers() -> None:
    whole, spread = (estimate(LARGE, settings(precision="bf16"), None, 0, 0, shares).weights for shares in (1, 8))
    layers = 2 * LARGE.quantisable
    assert spread == pytest.approx(whole - layers + layers * (2 + 30 / 8) / 32)


def test_spreading_is_proposed_to_several_processes_only(
    linux: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "read_shape", lambda folder: LARGE)
    for processes in (1, 8):
        with pytest.raises(ConfigError) as refused:
            require_memory(settings(llm=str(llama)), processes=processes)
        assert ("train.language_model: sharded" in str(refused.value)) == (processes > 1)


def test_processes_of_a_machine_without_gpu_share_its_memory(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert memory_at_hand() == 1_500_000_000


def test_container_may_use_what_is_free_and_what_files_take_up_in_it(linux: Path) -> None:
    assert memory_at_hand() == 3_000_000_000


def test_without_a_limit_the_machines_memory_counts(linux: Path) -> None:
    (linux / "memory.max").write_text("max\n")
    assert memory_at_hand() == 8_000_000 * 1024


def test_where_nothing_is_known_nothing_is_refused(linux: Path, llama: Path) -> None:
    (linux / "meminfo").unlink()
    assert memory_at_hand() is None
    require_memory(settings(llm=str(llama)), FINETUNING, 20, 10**9)


def test_what_fits_is_let_through(linux: Path, llama: Path) -> None:
    require_memory(settings(llm=str(llama)), FINETUNING, 20, 100)


def test_refusal_says_what_is_needed_what_is_there_and_which_settings_need_less(
    linux: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "read_shape", lambda folder: LARGE)
    said = (
        r"needs about \d+\.\d GiB of memory, and 2.8 GiB are free: 29.9 GiB for 8,030 million weights .*"
        r"model.precision: bf16 \(1\d\.\d GiB\); model.quantisation: nf4 \(.*finetune.gradient_accumulation: 4 \("
    )
    with pytest.raises(ConfigError, match=said):
        require_memory(settings(llm=str(llama)), FINETUNING, 20, 3500)


def test_stage_1_is_not_begun_where_stage_2_would_not_fit(
    linux: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "read_shape", lambda folder: LARGE)
    nothing = PretrainInputs(*[tmp_path / "none"] * len(PretrainInputs.__dataclass_fields__))
    with pytest.raises(ConfigError, match="29.9 GiB for 8,030 million weights"):
        run_pretrain(nothing, tmp_path / "out", settings(llm=str(llama)), {}, tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


def test_folder_without_sizes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="its sizes cannot be read"):
        read_shape(tmp_path)
