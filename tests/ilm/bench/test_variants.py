"""Systems are differences of settings, and an ablation changes one thing."""

import pytest

from ilm.bench.systems import USUAL, chosen_systems
from ilm.bench.variants import ABLATIONS, VARIANTS, varied
from ilm.errors import ConfigError
from ilm.params import Params

SETTINGS = Params().model_dump(by_alias=True)


@pytest.mark.parametrize(
    ("name", "changes"), [*VARIANTS.items(), *(pair for systems in ABLATIONS.values() for pair in systems.items())]
)
def test_every_system_goes_with_the_default_settings(name: str, changes: dict) -> None:
    assert Params.model_validate(varied(SETTINGS, changes, 7, name)).pretrain.seed == 7


def test_changes_are_made_in_a_copy_and_a_mixture_is_merged() -> None:
    before = Params().model_dump(by_alias=True)
    found = varied(SETTINGS, {"finetune": {"mixture": {"why": 0}}}, 3, "x")
    assert before == SETTINGS
    assert found["finetune"]["mixture"] == before["finetune"]["mixture"] | {"why": 0}
    assert found["finetune"]["seed"] == found["pretrain"]["seed"] == 3
    assert found["cf"] == before["cf"]


def test_changes_that_do_not_go_together_are_a_message_with_the_system() -> None:
    with pytest.raises(ConfigError, match=r"(?s)system odd: .*must divide model.queries"):
        varied(SETTINGS | {"model": SETTINGS["model"] | {"soft_tokens": 3}}, {"model": {"queries": 4}}, 0, "odd")


@pytest.mark.parametrize(
    ("ablation", "section", "setting", "values"),
    [
        ("stage1", "pretrain", "recipe", ["none", "IT", "IT-II", "IT-UI", "IT-II-UI"]),
        ("queries", "model", "queries", [1, 2, 4, 8, 16]),
        ("cf-tokens", "model", "cf_tokens", [1, 2, 4, 8]),
    ],
)
def test_ablation_varies_one_setting_and_no_other(ablation: str, section: str, setting: str, values: list) -> None:
    found = [varied(SETTINGS, changes, 0, name) for name, changes in ABLATIONS[ablation].items()]
    assert [settings[section].pop(setting) for settings in found] == values
    assert all(settings == found[0] for settings in found)


def test_encoders_compared_are_pretrained_random_mlp_and_none() -> None:
    found = [varied(SETTINGS, changes, 0, name) for name, changes in ABLATIONS["encoder"].items()]
    assert [(s["model"]["encoder"], s["pretrain"]["recipe"]) for s in found] == [
        ("qformer", "IT-II"), ("qformer", "none"), ("mlp", "none"), ("text", "none"),
    ]  # fmt: skip


def test_usual_systems_are_those_with_a_language_model_and_all_of_the_log() -> None:
    assert tuple(chosen_systems([])) == USUAL
    assert list(chosen_systems(["als", "ilm"])) == ["als", "ilm"]
