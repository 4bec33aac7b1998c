"""Systems side by side on the held-out references: `python -m ilm.elm judge`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ilm.cf import factors as cf_factors
from ilm.elm.comparison import comparison
from ilm.elm.features import ElmFeatures, read_features
from ilm.elm.references import References, load_references
from ilm.elm.scores import Scores, judge, others_texts
from ilm.elm.sentences import SentenceEncoder
from ilm.elm.speaker import Speaker
from ilm.errors import DataError
from ilm.eval.plain_text import bridge_log_perplexity, language_model_log_perplexity
from ilm.files import read_json, replaced, write_json
from ilm.model.storage import CONFIG, load_bridge
from ilm.train.distributed import Hardware, find_hardware
from ilm.train.settings import Settings

if TYPE_CHECKING:
    from ilm.params import ElmParams

SCORES, METRICS = "scores.parquet", "metrics.json"
FLOOR = "another item's text"
BLIND = " - soft tokens"
PLAIN_TEXTS = 16
"""References that the language model's own ability is measured on, as plain text."""


def judge_systems(
    features: Path, references: Path, systems: Mapping[str, Sequence[Path]], out: Path, settings: Settings
) -> dict[str, Any]:
    """Judge systems, each also without its soft tokens, and write `scores.parquet` and `metrics.json`.

    Args:
        features: folder with what the steps `split` and `cf` wrote.
        references: folder of `make_references`.
        systems: name -> folders of models, one for each seed; the first system is tested against all others.
        out: folder to write, whole or not at all.
        settings: sections `elm`, `evaluate`, `finetune` and `model`, complete and checked.

    Returns:
        What metrics.json has: that of `ilm.elm.comparison.comparison`, and what it was made of.

    Raises:
        ArtifactError: an input is missing or damaged, or a model and the CF factors are of different spaces.
        DataError: no system is named, or systems have different language models.
    """
    if not systems:
        raise DataError("ELM-24: no system to judge. Name at least one, as --system ilm=FOLDER.")
    params = cast("ElmParams", SimpleNamespace(**settings["elm"]))
    read = read_features(features, settings["finetune"])
    judged = load_references(references, read.training, read.held_out).part(held_out=True)
    for folder in (folder for folders in systems.values() for folder in folders):
        _require_model(folder, read)  # of all, before minutes go into the first
    hardware = find_hardware(settings["model"]["precision"])
    encoder = SentenceEncoder(params.sentence_encoder, hardware.device)
    runs: dict[str, list[Scores]] = {}
    plain: dict[str, float] = {}
    for name, folders in systems.items():
        for folder in folders:
            speaker = _load(folder, read, hardware, params.max_answer_tokens)
            _judge_one(speaker, name, judged, encoder, runs, plain)
    runs[FLOOR] = [others_texts(judged, encoder, params.seed)]
    samples, seed = settings["evaluate"]["bootstrap_samples"], settings["evaluate"]["seed"]
    metrics = comparison(judged.requests, runs, next(iter(systems)), samples=samples, seed=seed) | {
        "plain_text_log_perplexity": plain,
        "references": dict(judged.card),
        "sentence_encoder": encoder.identity,
        "max_answer_tokens": params.max_answer_tokens,
        "samples": samples,
    }
    with replaced(out) as folder:
        folder.mkdir()
        pq.write_table(score_table(judged, runs), folder / SCORES)
        write_json(folder / METRICS, metrics)
    return metrics


def score_table(references: References, runs: Mapping[str, Sequence[Scores]]) -> pa.Table:
    """Columns system, run (number of the seed), task, item_index, other_index, said, reference, semantic_consistency,
    nats, tokens (null where nothing was read)."""
    count = len(references.texts)
    tables = []
    for system, seeds in runs.items():
        for run, scores in enumerate(seeds):
            nothing = pa.nulls(count)
            tables.append(
                pa.table(
                    {
                        "system": [system] * count,
                        "run": pa.array([run] * count, pa.int32()),
                        "task": [request.task for request in references.requests],
                        "item_index": pa.array([request.item for request in references.requests], pa.int32()),
                        "other_index": pa.array([request.other for request in references.requests], pa.int32()),
                        "said": scores.said,
                        "reference": references.texts,
                        "semantic_consistency": scores.consistency,
                        "nats": nothing.cast(pa.float64()) if scores.nats is None else scores.nats,
                        "tokens": nothing.cast(pa.int64()) if scores.tokens is None else scores.tokens,
                    }
                )
            )
    return pa.concat_tables(tables)


def _require_model(folder: Path, read: ElmFeatures) -> None:
    space_id = read_json(folder / CONFIG).get("space_id", "")
    cf_factors.require_space(read.factors, space_id, str(folder))


def _load(folder: Path, read: ElmFeatures, hardware: Hardware, max_tokens: int) -> Speaker:
    model, _ = load_bridge(folder)
    model.to(hardware.device)
    model.language_model.move(hardware.device, hardware.dtype)
    return Speaker(model, torch.from_numpy(read.factors.item_factors), max_tokens)


def _judge_one(
    speaker: Speaker,
    name: str,
    judged: References,
    encoder: SentenceEncoder,
    runs: dict[str, list[Scores]],
    plain: dict[str, float],
) -> None:
    """Add one model's scores, and those of what is left of it without soft tokens."""
    runs.setdefault(name, []).append(judge(speaker, judged, encoder, name))
    if speaker.model.adapter.soft_tokens:
        runs.setdefault(name + BLIND, []).append(judge(speaker, judged, encoder, name + BLIND, blind=True))
    texts = judged.texts[:PLAIN_TEXTS]
    plain["the language model alone"] = language_model_log_perplexity(speaker.model.language_model, texts)
    plain[name] = bridge_log_perplexity(speaker.model, texts)
