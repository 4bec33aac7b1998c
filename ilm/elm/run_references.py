"""Reference texts, made once: `python -m ilm.elm references`."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pyarrow.parquet as pq

from ilm.elm.asking import asked, kept_shards, made_of
from ilm.elm.features import read_features
from ilm.elm.given import read_given
from ilm.elm.plan import plan, plan_given
from ilm.elm.references import CARD, References, load_references, write_references
from ilm.elm.teachers import start_teacher
from ilm.errors import ArtifactError
from ilm.files import digest, read_json
from ilm.train.settings import Settings

if TYPE_CHECKING:
    from ilm.params import ElmParams


def make_references(features: Path, out: Path, settings: Settings) -> References:
    """Ask the configured teacher for the texts of all tasks, or take those of a file, and write them.

    What is there already is read and not asked for again; a run that was cut short goes on.

    Args:
        features: folder with what the steps `split` and `cf` wrote.
        out: folder to write.
        settings: sections `elm`, `finetune` and `model`, complete and checked.

    Raises:
        ArtifactError: `out` holds other references; or an input is missing or damaged.
        ConfigError: an endpoint cannot be asked.
        DataError: the given texts are wrong, or there are too few items.
    """
    params = cast("ElmParams", SimpleNamespace(**settings["elm"]))
    read = read_features(features, settings["finetune"])
    known, sizes = read.training.attributes, (params.items, params.held_out_items, params.seed)
    if params.teacher == "file":
        path = Path(params.file)
        given, unknown = read_given(path, pq.read_table(features / "catalogue.parquet")["item_id"].to_pylist())
        requests = plan_given(given, read.training, read.held_out, *sizes)
        identity: dict[str, str | int] = {"teacher": "file", "sha256": digest(path), "rows_of_unknown_items": unknown}
    else:
        requests = plan(read.training, read.held_out, *sizes)
        teacher = start_teacher(params, settings["model"]["precision"])
        identity = teacher.identity
    questions = [request.prompt(known) for request in requests]
    key = made_of(identity, questions)
    if out.exists():
        if not (out / CARD).exists() or read_json(out / CARD).get("made_of") != key:
            raise ArtifactError(
                f"{out}: holds something else, or references by another teacher or for other questions. Name a new "
                "folder, or remove this one."
            )
        return load_references(out, read.training, read.held_out)
    if params.teacher == "file":
        texts = [given[request.task, request.item, request.other] for request in requests]
    else:
        texts = asked(out, teacher, questions)
    made = write_references(out, requests, texts, known, identity | {"made_of": key, "seed": params.seed})
    for shards in kept_shards(out):
        shutil.rmtree(shards)
    return made
