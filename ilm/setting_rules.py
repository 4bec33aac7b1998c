"""Rules between settings, which no single one can break. Without pydantic: they hold on a bare training box, too."""

from collections.abc import Mapping
from typing import Any

DEFAULT_MIXTURE: dict[str, float] = {
    "sequential": 54,
    "straightforward": 18,
    "title": 8,
    "description": 6,
    "attributes": 3,
    "comparison": 2,
    "why": 3,
    "conversation": 6,
}
"""All tasks of stage 2 (`ilm.prompts.tasks`)."""
RANKING = ("sequential", "straightforward", "title")
"""Of these, the ones that a model is evaluated by."""
SPEAKING = ("description", "attributes", "comparison", "why")
"""Of these, the ones that ask for words and no item."""


def broken_rules(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong between the settings of sections `model`, `pretrain`, `finetune` and `train`, each complete and
    each value allowed by itself; empty if nothing is."""
    model, pretrain, finetune, train = (settings[name] for name in ("model", "pretrain", "finetune", "train"))
    mixture, encoder = finetune["mixture"], model["encoder"]
    unknown = [task for task in mixture if task not in DEFAULT_MIXTURE]
    speaking = [task for task in SPEAKING if mixture.get(task)]
    beside = f"with model.encoder {encoder},"
    rules = {
        f"model.soft_tokens ({model['soft_tokens']}) must divide model.queries ({model['queries']})":
            model["queries"] % model["soft_tokens"] == 0,
        f"finetune.mixture: no task is called {', '.join(unknown)}; there are {', '.join(DEFAULT_MIXTURE)}":
            not unknown,
        f"finetune.mixture needs a weight above 0 for one of {', '.join(RANKING)}":
            any(mixture.get(task, 0) > 0 for task in RANKING),
        f"{beside} pretrain.recipe must be none (it is {pretrain['recipe']}): only a Q-Former has a stage 1":
            encoder == "qformer" or pretrain["recipe"] == "none",
        f"{beside} model.soft_tokens must be 1 (it is {model['soft_tokens']}): an MLP has one output":
            encoder != "mlp" or model["soft_tokens"] == 1,
        f"{beside} finetune.item_embedding must be true: nothing else tells items apart in the retrieval table":
            encoder != "text" or finetune["item_embedding"],
        f"{beside} finetune.mixture must not have {', '.join(speaking)}: nothing that learns speaks":
            encoder != "text" or not speaking,
        f"train.nodes ({train['nodes']}) above 1 needs train.launcher torchrun, and train.rendezvous host:port":
            train["nodes"] == 1 or (train["launcher"] == "torchrun" and train["rendezvous"] != ""),
        f"train.language_model sharded needs model.quantisation none (it is {model['quantisation']})":
            train["language_model"] == "replicated" or model["quantisation"] == "none",
    }  # fmt: skip
    return [rule for rule, kept in rules.items() if not kept]
