"""`python -m benchmarks.quality`: what each part of the model is worth, over several seeds, on any exported features.

    ilm export /tmp/features            # where the pipeline has run
    python -m benchmarks.quality --features /tmp/features --out /tmp/quality --seeds 0 1 2

Every variant is trained from the CF vectors on with each seed and ranks the whole catalogue for every test user. A
finished (variant, seed) is a file with the ranks of all users, and is not computed again; stage 1 is shared by variants
with the same settings. The table at the end compares every variant with `ilm`: metrics per user are averaged over
seeds, then the bootstrap resamples users in pairs.
"""

import argparse
import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from ilm.cf.factors import load
from ilm.data.schema import CATALOGUE, EXAMPLES, SEQUENCES, read_table
from ilm.eval.baselines import Als, Popularity
from ilm.eval.cases import held_out_cases
from ilm.eval.metrics import METRICS, per_user
from ilm.eval.protocol import Cases, Recommender, target_ranks
from ilm.eval.significance import paired_tests
from ilm.files import read_json, write_json, write_text
from ilm.model.bridge import Bridge
from ilm.model.storage import HISTORY
from ilm.prompts.templates import TASKS
from ilm.rank.head import load_recommender
from ilm.train.run_finetune import FinetuneInputs, run_finetune
from ilm.train.run_pretrain import PretrainInputs, run_pretrain
from ilm.train.settings import Settings, read_settings

RANKING_ONLY = {"title": 0, "description": 0, "attributes": 0, "comparison": 0, "why": 0, "conversation": 0}

LEARNING = {"encoder_learning_rate": 3e-5}

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "ilm": {},
    "ilm-rand": {"pretrain": {"recipe": "none"}},
    "mlp": {"model": {"encoder": "mlp"}, "pretrain": {"recipe": "none"}},
    "text": {"model": {"encoder": "text"}, "pretrain": {"recipe": "none"}, "finetune": {"mixture": RANKING_ONLY}},
    "learning-encoder": {"finetune": LEARNING},
    "learning-encoder-rand": {"finetune": LEARNING, "pretrain": {"recipe": "none"}},
    "learning-encoder-mlp": {"finetune": LEARNING, "model": {"encoder": "mlp"}, "pretrain": {"recipe": "none"}},
    "no-context": {"finetune": LEARNING | {"item_context": False}},
    "no-context-rand": {"finetune": LEARNING | {"item_context": False}, "pretrain": {"recipe": "none"}},
    "no-context-mlp": {
        "finetune": LEARNING | {"item_context": False}, "model": {"encoder": "mlp"}, "pretrain": {"recipe": "none"},
    },
    "it": {"pretrain": {"recipe": "IT"}},
    "it-ui": {"pretrain": {"recipe": "IT-UI"}},
    "it-ii-ui": {"pretrain": {"recipe": "IT-II-UI"}},
}  # fmt: skip
"""Name -> the settings in which it differs from those of the features folder."""


def _without_language_model(bridge: Bridge) -> None:
    torch.nn.init.zeros_(bridge.head.answer_projection.weight)
    torch.nn.init.zeros_(bridge.head.answer_projection.bias)


def _without_soft_tokens(bridge: Bridge) -> None:
    if bridge.adapter.projection is not None:
        torch.nn.init.zeros_(bridge.adapter.projection.weight)
        torch.nn.init.zeros_(bridge.adapter.projection.bias)


def _without_item_context(bridge: Bridge) -> None:
    bridge.head.item_context = None


DIAGNOSES: dict[str, Callable[[Bridge], None]] = {
    "": lambda bridge: None,
    " - language model": _without_language_model,
    " - soft tokens": _without_soft_tokens,
    " - item context": _without_item_context,
}
"""What is taken away from a finished model before it ranks."""


def main() -> None:
    """Train and rank what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="folder that `ilm export` made")
    parser.add_argument("--out", type=Path, required=True, help="folder of results; what is there is kept")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["ilm"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--part", choices=("valid", "test"), default="test", help="choose settings on valid")
    parser.add_argument("--diagnose", action="store_true", help="rank also with parts of each model taken away")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    settings = read_settings(arguments.features, arguments.overrides)
    world = World(arguments.features, arguments.out, arguments.part, arguments.diagnose)
    world.rank_baselines()
    for seed in arguments.seeds:
        for variant in arguments.variants:
            world.rank_variant(variant, seed, varied(settings, VARIANTS[variant], seed))
    table = summary(world.results)
    write_text(world.results / "table.md", table)
    print(table)


def varied(settings: Settings, changes: dict[str, dict[str, Any]], seed: int) -> Settings:
    """Settings with a variant's changes (a mixture is merged) and the seed in both stages."""
    result = deepcopy(settings)
    for section, values in changes.items():
        for key, value in values.items():
            old = result[section].get(key)
            result[section][key] = old | value if isinstance(old, dict) else value
    for section in ("pretrain", "finetune"):
        result[section]["seed"] = seed
    return result


class World:
    """A features folder with its users, and the folder of what was trained and found."""

    def __init__(self, features: Path, out: Path, part: str, diagnose: bool) -> None:
        self.features, self.out, self.results = features, out, out / part
        self.diagnoses = DIAGNOSES if diagnose else {"": DIAGNOSES[""]}
        self.active = read_table(features / "catalogue.parquet", CATALOGUE, with_text=True)["active"].to_numpy()
        self.sequences = read_table(features / "sequences.parquet", SEQUENCES)
        examples = read_table(features / "examples.parquet", EXAMPLES)
        self.cases: dict[str, Cases] = {task: held_out_cases(examples, self.sequences, task, part) for task in TASKS}

    def rank_baselines(self) -> None:
        """Popularity and ALS, once."""
        train = self.sequences.filter(pl.col("part") == "train")["item_index"].to_numpy()
        counts = np.bincount(train, minlength=len(self.active))
        for name, system in (("popularity", Popularity(counts)), ("als", Als(load(self.features / "cf.safetensors")))):
            if not (self.results / f"{name}.0.json").exists():
                write_json(self.results / f"{name}.0.json", {"ranks": {name: self._ranks(system)}, "curves": {}})

    def rank_variant(self, variant: str, seed: int, settings: Settings) -> None:
        """Train a variant with a seed, rank with it and with what each diagnosis leaves of it."""
        result, out = self.results / f"{variant}.{seed}.json", self.out
        if result.exists():
            return
        stage1 = [settings["model"], settings["pretrain"]]
        encoder = out / "encoders" / hashlib.sha256(json.dumps(stage1, sort_keys=True).encode()).hexdigest()[:16]
        if not encoder.exists():
            inputs = PretrainInputs.in_folder(self.features)
            checkpoints = out / "checkpoints" / "pretrain"
            run_pretrain(inputs, encoder, settings["model"], settings["pretrain"], checkpoints, _print)
        model = out / "models" / f"{variant}.{seed}"
        if not model.exists():
            files = FinetuneInputs.in_folder(self.features, encoder)
            checkpoints = out / "checkpoints" / "finetune"
            history = settings["pairs"]["max_history"]
            run_finetune(files, model, settings["model"], settings["finetune"], history, checkpoints, _print)
        ranks = {}
        for name, take_away in self.diagnoses.items():
            recommender = load_recommender(model, self.features / "cf.safetensors", batch_size=64)
            take_away(recommender.model)
            recommender = type(recommender)(recommender.model, recommender.card, load(self.features / "cf.safetensors"))
            ranks[variant + name] = self._ranks(recommender)
        curves = {"stage1": read_json(encoder / HISTORY), "stage2": read_json(model / HISTORY)}
        write_json(result, {"ranks": ranks, "curves": {stage: curve[-1:] for stage, curve in curves.items()}})

    def _ranks(self, system: Recommender) -> dict[str, list[int]]:
        return {
            task: target_ranks(system, task, cases, self.active, 64).filtered.tolist()
            for task, cases in self.cases.items()
        }


def _print(values: dict[str, float], step: int) -> None:
    if step % 25 == 0:
        print(f"step {step}", *(f"{name} {value:.3f}" for name, value in values.items()), sep="  ", flush=True)


def summary(out: Path) -> str:
    """All results as Markdown: mean over seeds, spread between them, and the paired test against `ilm`."""
    found: dict[str, list[dict[str, list[int]]]] = {}
    for path in sorted(out.glob("*.json")):
        for system, ranks in read_json(path)["ranks"].items():
            found.setdefault(system, []).append(ranks)
    lines = []
    for task in TASKS:
        users = {
            system: np.array([np.stack([*per_user(np.array(r[task], np.int32)).values()], axis=1) for r in runs])
            for system, runs in found.items()
        }  # [seeds, users, metrics]
        lines += [
            f"\n{task}, seen items removed\n",
            f"| system | seeds | {' | '.join(METRICS)} | ilm - system, HR@10 | p |",
            "|---" * (len(METRICS) + 4) + "|",
        ]
        for system, values in users.items():
            means = values.mean(axis=1)  # [seeds, metrics]
            spread = means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(len(METRICS))
            cells = [f"{mean:.4f} ± {sd:.4f}" for mean, sd in zip(means.mean(axis=0), spread, strict=True)]
            test = ("", "")
            if "ilm" in users and system != "ilm":
                pair = users["ilm"].mean(axis=0), values.mean(axis=0)
                found_test = paired_tests(*pair, samples=2000, seed=0)[METRICS.index("hr_at_10")]
                test = f"{found_test.difference:+.4f}", f"{found_test.p_value:.3f}"
            lines.append(f"| {system} | {len(values)} | {' | '.join(cells)} | {' | '.join(test)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
