"""Rules between settings: each is found when it alone is broken, in params.yaml and in an exported folder."""

from pathlib import Path

import pytest
import yaml

from ilm.errors import ConfigError
from ilm.params import Params, load_params
from ilm.setting_rules import DEFAULT_MIXTURE, broken_rules
from ilm.train.settings import read_settings
from tasks.export import export_features
from tests.tiny_project import write_project

BROKEN = {
    "soft_tokens (3) must divide model.queries (4)": {"model": {"soft_tokens": 3}},
    "no task is called singing": {"finetune": {"mixture": {"sequential": 1.0, "singing": 1.0}}},
    "needs a weight above 0": {"finetune": {"mixture": {"why": 1.0}}},
    "only a Q-Former has a stage 1": {"model": {"encoder": "mlp"}},
    "an MLP has one output": {"model": {"encoder": "mlp", "soft_tokens": 2}, "pretrain": {"recipe": "none"}},
    "item_embedding must be true": {
        "model": {"encoder": "text"}, "pretrain": {"recipe": "none"},
        "finetune": {"item_embedding": False, "mixture": {"sequential": 1.0}},
    },
    "train.nodes (2) above 1": {"train": {"nodes": 2, "launcher": "torchrun"}},
    "train.rendezvous host:port": {"train": {"nodes": 2, "rendezvous": "box1:29400"}},
    "sharded needs model.quantisation none": {
        "train": {"language_model": "sharded"}, "model": {"quantisation": "nf4"},
    },
    "must not have description, attributes": {"model": {"encoder": "text"}, "pretrain": {"recipe": "none"}},
}  # fmt: skip


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_the_only_one_named(rule: str) -> None:
    settings = Params().model_dump(by_alias=True)
    assert broken_rules(settings) == []
    for section, values in BROKEN[rule].items():
        settings[section] |= values
    (found,) = broken_rules(settings)
    assert rule in found


def test_params_yaml_that_breaks_rules_is_refused_with_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"model": {"encoder": "mlp", "soft_tokens": 2}}))
    with pytest.raises(ConfigError, match=r"only a Q-Former has a stage 1; .*an MLP has one output"):
        load_params(path)


def test_override_that_breaks_a_rule_is_refused(tmp_path: Path) -> None:
    export_features(write_project(tmp_path / "project"), tmp_path / "features")
    with pytest.raises(ConfigError, match=r"1 wrong.*\n.*only a Q-Former has a stage 1"):
        read_settings(tmp_path / "features", ["model.encoder=mlp", "model.soft_tokens=1"])


def test_default_mixture_breaks_no_rule_without_a_task() -> None:
    for task in DEFAULT_MIXTURE:
        mixture = {name: weight for name, weight in DEFAULT_MIXTURE.items() if name != task}
        assert broken_rules(Params().model_dump() | {"finetune": {"mixture": mixture, "item_embedding": True}}) == []
