"""params.yaml as typed sections, one per pipeline step. Nothing else in the project reads the file.

Unknown keys, wrong types and impossible values are all reported together, in one `ConfigError`.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ilm.errors import ConfigError
from ilm.setting_rules import DEFAULT_MIXTURE, broken_rules

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """One section of params.yaml: immutable, no unknown keys, no type coercion between strings and numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataParams(Section):
    """Where interactions and items come from (step `ingest`)."""

    source: Literal["movielens-small", "folder", "movielens", "movielens-1m", "amazon"] = "movielens-small"
    """`movielens-small` is built in; the others are read from `folder` (docs/your-data.md)."""
    folder: str = "data/raw"
    """Folder with the user's files (`source: folder`: parquet, csv or jsonl), or with an original distribution."""
    untitled_items: Literal["set_aside", "name"] = "set_aside"
    """Items without a title are bad rows; or are called "Untitled item <id>", also where no items file is there."""
    interaction_columns: dict[str, str] = {}
    """Our column name -> the name in the user's interactions file; unlisted columns keep their names."""
    item_columns: dict[str, str] = {}
    """Our column name -> the name in the user's items file; unlisted columns keep their names."""
    max_quarantine_fraction: Fraction = 0.05
    """Stop when more than this share of the rows of either table had to be set aside, or of a log file."""
    logs: str = "data/logs"
    """Folder of log files, which are added to the source ([how](logs.md)): parquet, csv, jsonl, csv.gz, jsonl.gz."""
    log_columns: dict[str, list[str]] = {}
    """Our column name -> all names that it may have in log files; unlisted columns as in `interaction_columns`."""
    max_clock_skew: NonNegativeInt = 300
    """Seconds that an event of a log file may be ahead of the clock; later ones wait in quarantine."""
    settle_seconds: NonNegativeInt = 10
    """A log file that was changed less long ago is watched for so long; if it changes, it is left for the next run."""


class ValidateParams(Section):
    """The data contract at the gate (step `validate`)."""

    min_users: PositiveInt = 50
    """Fewer stop the run."""
    min_items: PositiveInt = 50
    """Fewer stop the run."""
    min_interactions: PositiveInt = 1000
    """Fewer stop the run."""
    max_unknown_item_fraction: Fraction = 0.0
    """Share of interactions whose item_id the items table does not know."""
    earliest: str = "1990-01-01"
    """ISO date (UTC); an earlier timestamp is impossible. A later one than a day from now always is."""
    max_age_days: PositiveInt | None = None
    """The newest interaction must not be older; null: it may be."""
    max_shrink_fraction: Fraction = 0.1
    """How much smaller than the last accepted table the next one may be; log files that vanish make it smaller."""
    min_batch_rows: PositiveInt = 1000
    """A batch of new log files with fewer rows is too small to compare with the last accepted one."""
    max_size_ratio: Annotated[float, Field(ge=1.0)] = 10.0
    """A batch must not have more than so many times the rows of the last accepted one, nor so many times fewer."""
    min_known_items: Fraction = 0.5
    """Share of a batch's items that the catalogue must know."""
    min_known_users: Fraction = 0.05
    """Share of a batch's users that the source or earlier batches must know."""
    max_type_distance: Fraction = 0.3
    """Total variation distance of a batch's event types to those of the last accepted batch (0: same shares, 1: none
    in common)."""
    max_hour_distance: Fraction = 0.5
    """The same for the hours of the day (UTC)."""
    max_missing_change: Fraction = 0.2
    """By how much the share of rows without rating, event_type or event_id may differ from the last accepted batch."""
    warnings: list[str] = ["table.age", "batch.files", "batch.size", "batch.hours", "batch.known_users"]
    """Checks whose failure is shown, but does not stop the run; the page names them all."""


class SplitParams(Section):
    """How history is cut into train, valid and test (step `split`)."""

    strategy: Literal["leave_one_out", "global_time"] = "leave_one_out"
    """Last interaction of each user, or everything after one moment in time."""
    min_user_interactions: Annotated[int, Field(ge=3)] = 5
    """Users with fewer are dropped; see the next setting."""
    min_item_interactions: PositiveInt = 5
    """Users and items below these counts are dropped, repeatedly, until none is left (k-core). With `global_time` what
    lies before the test part is counted, and nothing of the test part is dropped."""
    valid_fraction: Fraction = 0.1
    """As the next setting, for the part before the test part; `global_time` only."""
    test_fraction: Fraction = 0.1
    """Share of all interactions, the latest ones; `global_time` only."""


class CfParams(Section):
    """Implicit-feedback matrix factorisation (step `cf`)."""

    backend: Literal["implicit-cpu", "implicit-gpu", "spark"] = "implicit-cpu"
    """Who solves it: `implicit` on the CPU or a GPU, or Spark MLlib, with the extra `spark`
    ([which](decisions/cf-backends.md))."""
    spark_master: Annotated[str, Field(pattern=r"^(local(\[(\*|[1-9]\d*)\])?|spark://[^\s/]+:\d+)$")] = "local[2]"
    """Of `spark`: so many cores of this machine, or `spark://host:7077`, a standalone cluster."""
    spark_memory: Annotated[str, Field(pattern=r"^[1-9]\d*[mg]$")] = "2g"
    """Of `spark`: heap of the driver, and of each executor of a cluster; what does not fit is spilled to disk."""
    spark_folder: str = "data/spark"
    """Of `spark`: for input, checkpoints and spill, emptied after the fit; all workers of a cluster must see it."""
    factors: PositiveInt = 64
    """Length of an item's or user's vector."""
    regularization: PositiveFloat = 0.05
    """Weight of the squared length of all vectors."""
    alpha: PositiveFloat = 10.0
    """Confidence of an observed interaction is 1 + alpha (Hu, Koren, Volinsky 2008)."""
    iterations: PositiveInt = 20
    """Alternations between users and items."""
    warm_iterations: PositiveInt = 5
    """The same where the vectors of an earlier generation are gone on from."""
    reuse_cosine: Fraction = 0.9
    """Encoder and model are used again if items have at least this mean cosine to the anchor's vectors, and …"""
    reuse_overlap: Fraction = 0.55
    """… share at least so many of their nearest neighbours with it ([how](decisions/continuity.md))."""
    refresh_cosine: Fraction = 0.7
    """Below that, stage 2 goes on from the earlier model; below this, or …"""
    refresh_overlap: Fraction = 0.35
    """… this, everything is trained anew, in a new space."""
    drift_neighbours: PositiveInt = 10
    """Nearest neighbours that are compared."""
    seed: Seed = 42


class PairsParams(Section):
    """Training pairs and recommendation examples (step `pairs`)."""

    window: PositiveInt = 2
    """Items at most this many positions apart in a user's history count as co-consumed."""
    neighbours: PositiveInt = 10
    """Co-consumed neighbours kept per item."""
    max_history: PositiveInt = 20
    """Items shown one by one in a prompt (OpenP5: 20)."""
    max_profile: PositiveInt = 200
    """Most recent items kept per example; all of them shape the user vector."""
    straightforward_per_user: PositiveInt = 4
    """Training examples per user for the task without a visible history."""
    seed: Seed = 42


class ModelParams(Section):
    """The encoder and the two pretrained models around it (steps `pretrain` and `finetune`)."""

    encoder: Literal["qformer", "mlp", "text"] = "qformer"
    """What turns CF vectors into soft tokens: the Q-Former; a two-layer MLP (CoLLM); or nothing, titles instead."""
    text_encoder: str = "all-minilm-l6-v2"
    """Built-in name or a local folder of a BERT-like encoder; gives the Q-Former its start."""
    llm: str = "smollm2-135m-instruct"
    """A causal language model: built-in name, folder, or hub id in the local cache; always frozen
    ([how](language-models.md))."""
    quantisation: Literal["none", "nf4"] = "none"
    """Of the LLM's matrices; nf4: 4 bits, with the extra `quantised`."""
    layers: PositiveInt = 3
    """Q-Former layers, taken from the bottom of the text encoder."""
    queries: PositiveInt = 4
    """Learned queries per item or user."""
    cf_tokens: PositiveInt = 4
    """Key/value tokens that one CF vector is expanded to; 1 is the paper's reading (degenerate attention)."""
    cross_attention_every: PositiveInt = 1
    """Cross-attention in every n-th layer, starting with the first."""
    soft_tokens: PositiveInt = 1
    """LLM positions per item or user; divides `queries` (queries / soft_tokens are concatenated, then projected)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of matrix products in training, and of the frozen LLM there; what is trained stays in fp32. bf16 is for GPUs."""


class PretrainParams(Section):
    """Stage 1: Q-Former against item text and co-consumption (step `pretrain`)."""

    recipe: Literal["none", "IT", "IT-II", "IT-UI", "IT-II-UI"] = "IT-II"
    """Losses: item-text (IT), with item-item (II) or user-item (UI) contrast; `none` is the paper's ILM-rand."""
    steps: PositiveInt = 200
    """Steps of both kinds together."""
    batch_size: PositiveInt = 64
    """Items per item-text step; all of them take part in the contrast."""
    paired_rows: PositiveInt = 16
    """Of these, how many also take part in matching and generation."""
    interaction_batch_size: PositiveInt = 128
    """Pairs per item-item or user-item step."""
    interaction_every: PositiveInt = 2
    """Every n-th step is an interaction step (item-item, user-item in turn)."""
    gradient_accumulation: PositiveInt = 1
    """Micro-batches that a step's rows are cut into: less memory. Contrast is then within the micro-batch."""
    learning_rate: PositiveFloat = 5e-4
    """Highest learning rate, after the warm-up."""
    warmup: PositiveInt = 20
    """Steps until the learning rate is reached; then it falls as half a cosine."""
    max_text_tokens: Annotated[int, Field(ge=8, le=512)] = 24
    """Word pieces of an item's text; longer texts are cut."""
    held_out_fraction: Fraction = 0.1
    """Share of items, and of interaction pairs, kept out of stage 1 for the held-out losses."""
    early_stop_patience: NonNegativeInt = 0
    """Evaluations without a smaller `held_out_loss` after which stage 1 ends with its best weights; 0: all steps."""
    checkpoint_every: PositiveInt = 50
    """Steps between evaluations on what is held out, and between saved training states."""
    seed: Seed = 42


class FinetuneParams(Section):
    """Stage 2: Q-Former, adapter and retrieval head in front of the frozen LLM (step `finetune`)."""

    steps: PositiveInt = 200
    """Steps of all tasks together; each has prompts of one task."""
    step_tokens: PositiveInt = 480
    """Tokens of a step, about: decides how many prompts of its task it has, so that steps of all tasks cost alike."""
    mixture: dict[str, NonNegativeFloat] = DEFAULT_MIXTURE
    """Weights of the tasks, as shares of the steps; a task that is not listed has none (docs/decisions/tasks.md)."""
    wish_prompts: NonNegativeInt = 400
    """Conversations that the head learns from what a wish in words means; 0: it does not learn that."""
    names: Literal["title", "index"] = "title"
    """What the task `title` answers with: the title; or an index string such as `item_1234`, dealt out at random."""
    gradient_accumulation: PositiveInt = 1
    """Micro-batches that a step's prompts are cut into: less memory, the same step."""
    learning_rate: PositiveFloat = 3e-5
    """Highest learning rate of the adapter: its inputs are a thousand wide, its outputs as small as word embeddings."""
    head_learning_rate: PositiveFloat = 3e-4
    """Highest learning rate of the retrieval head."""
    encoder_learning_rate: NonNegativeFloat = 0.0
    """Highest learning rate of the encoder; 0 leaves it as stage 1 left it (docs/decisions/retrieval-head.md)."""
    warmup: PositiveInt = 30
    """Steps until the learning rates are reached; then they fall as half a cosine."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    """Of AdamW; biases and norms are not decayed."""
    language_loss_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of the language-model loss (nats per token of the answers), beside the retrieval loss."""
    max_answer_tokens: PositiveInt = 48
    """Tokens of an answer; longer ones are cut."""
    held_out_fraction: Fraction = 0.05
    """Share of items that no answer describes, for the held-out loss; up to `pretrain`'s, stage 1 kept them, too."""
    item_embedding: bool = True
    """A learned part per item in the retrieval table, beside the part that the encoder gives."""
    item_context: bool = True
    """The head's query has a part of the prompt's items themselves (docs/decisions/retrieval-head.md)."""
    refresh_steps: PositiveInt = 60
    """Steps where an earlier model is gone on from ([when](decisions/continuity.md)); instead of `steps`."""
    refresh_epochs: PositiveInt = 2
    """Likewise, instead of `context_epochs`."""
    context_epochs: PositiveInt = 8
    """Passes over all histories in which that part learns, before the language model takes part."""
    context_batch_size: PositiveInt = 64
    """Histories of a step of these passes."""
    context_learning_rate: PositiveFloat = 1e-3
    """Highest learning rate of the retrieval head in these steps."""
    checkpoint_every: PositiveInt = 50
    """Steps between saved training states, and between refreshed encodings of the catalogue."""
    seed: Seed = 42


class TrainParams(Section):
    """How steps `pretrain` and `finetune` are started ([how](several-devices.md)); a change reruns nothing."""

    launcher: Literal["local", "torchrun"] = "local"
    """In the step's own process, on one device; or in several processes, one per device."""
    nodes: PositiveInt = 1
    """Machines; on the others, the command that the step shows is to be started."""
    processes: NonNegativeInt = 0
    """Per machine; 0: one per GPU, or one where there is no GPU."""
    rendezvous: Annotated[str, Field(pattern=r"^$|^[^\s:/]+:[0-9]+$")] = ""
    """host:port of this machine, where the others find it; one machine needs none."""
    max_restarts: NonNegativeInt = 3
    """How often all processes go on from the last checkpoint after one has ended badly."""
    language_model: Literal["replicated", "sharded"] = "replicated"
    """Every process has the whole frozen LLM; or its part of each layer (FSDP2), where the whole does not fit."""


class EvaluateParams(Section):
    """Full-catalogue evaluation (step `evaluate`)."""

    batch_size: PositiveInt = 32
    """Prompts per batch."""
    bootstrap_samples: Annotated[int, Field(ge=100)] = 10_000
    """Resamplings of the users for intervals, and as many sign flips for paired tests."""
    conversation_users: PositiveInt = 60
    """Users of the test part, evenly spaced, who are talked with (docs/evaluation-conversation.md)."""
    max_users: NonNegativeInt = 0
    """Users of the test part who are asked at all, drawn by lot where there are more; 0: all."""
    seed: Seed = 42


class ElmParams(Section):
    """ELM-24: texts about held-out items against a teacher's (`python -m ilm.elm`, docs/elm-24.md)."""

    teacher: Literal["local", "endpoint", "file"] = "local"
    """Who writes the references: a model on this machine, one behind an endpoint, or somebody who has already."""
    teacher_model: str = "smollm2-135m-instruct"
    """`local`: built-in name or folder of a causal language model; `endpoint`: the model's name there."""
    endpoint: str = "https://api.openai.com/v1"
    """Address of an OpenAI-compatible server; needs the extra `teacher`."""
    endpoint_key: str = "OPENAI_API_KEY"
    """Environment variable with the endpoint's key."""
    endpoint_options: dict[str, str | int | float | bool] = {"max_tokens": 96, "temperature": 0}
    """Sent with each request."""
    requests_per_minute: PositiveInt = 60
    """To the endpoint at most, tries again included."""
    file: str = ""
    """Of the teacher `file`: Parquet or JSON Lines with task, item_id, text and, for pairs, other_item_id."""
    items: PositiveInt = 200
    """Items to learn from, each in all 24 tasks."""
    held_out_items: PositiveInt = 50
    """Items to be judged by, each in all 24 tasks; which ones, `finetune.held_out_fraction` and its seed decide."""
    max_answer_tokens: PositiveInt = 96
    """Tokens of an answer of the local teacher, and of the systems; longer references are cut."""
    sentence_encoder: str = "all-minilm-l6-v2"
    """Built-in name or folder of a mean-pooling sentence encoder."""
    steps: PositiveInt = 300
    """Training steps of a system."""
    batch_size: PositiveInt = 8
    """Texts per step."""
    gradient_accumulation: PositiveInt = 1
    """Micro-batches that a step's texts are cut into: less memory, the same step."""
    learning_rate: PositiveFloat = 1e-4
    """Highest learning rate of the adapter."""
    encoder_learning_rate: NonNegativeFloat = 1e-4
    """Highest learning rate of the encoder; 0 leaves it as stage 1 left it."""
    warmup: PositiveInt = 30
    """Steps until the learning rates are reached; then they fall as half a cosine."""
    checkpoint_every: PositiveInt = 50
    """Steps between saved training states."""
    seed: Seed = 42


class GateParams(Section):
    """Whether a challenger is promoted: both models on the same fresh holdout ([how](gate.md))."""

    metric: Literal["hr_at_5", "hr_at_10", "ndcg_at_5", "ndcg_at_10", "mrr"] = "ndcg_at_10"
    """What decides, per user, with the items that the user has seen left out."""
    margin: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    """The challenger's difference must be proved to be above it. 0: better; -0.002: worse by less than 0.002."""
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.025
    """Chance of promoting a challenger whose true difference is the margin; of the one-sided test."""
    samples: Annotated[int, Field(ge=1000)] = 10_000
    """Sign flips of the paired test, and resamplings of the users for its interval."""
    min_users: Annotated[int, Field(ge=2)] = 100
    """Users that can be judged by interactions after the cut; fewer cannot decide (`underpowered`)."""
    targets: PositiveInt = 10
    """At most so many of a user's fresh items are asked for, one after another; a user's value is their mean."""
    max_cases: PositiveInt = 10_000
    """Rankings per model, to bound the time: fewer targets of each user; of more users than that, so many are drawn."""
    newcomer_history: NonNegativeInt = 5
    """Of users who came after the cut, so many first items are shown and the next ones asked for; 0 leaves them out."""
    wanted_effect: PositiveFloat = 0.01
    """Distance above the margin that should not be missed: decides between `refuse` and `underpowered`."""
    power: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.8
    """Chance with which a true distance of `wanted_effect` should be proved."""
    floors: dict[Literal["hr_at_5", "hr_at_10", "ndcg_at_5", "ndcg_at_10", "mrr"], Fraction] = {"hr_at_10": 0.01}
    """Metric -> its mean below which no challenger is promoted, not even as the first model."""
    min_coverage_ratio: NonNegativeFloat = 0.8
    """Share of the items that stands in somebody's first 10: at least so many times the champion's."""
    max_cold_drop: Fraction = 0.02
    """How far the metric may fall on rare targets."""
    cold_interactions: PositiveInt = 20
    """A target with at most so many interactions before the cut is rare."""
    min_cold_users: PositiveInt = 50
    """With fewer users who have a rare target, that guardrail is not judged, and the record says so."""
    seed: Seed = 42


class RetrainParams(Section):
    """When a retrain goes on, and how long a silent one counts as alive ([how](retrain.md))."""

    min_new_interactions: NonNegativeInt = 1000
    """With fewer interactions more than at the last run, it stops after step `validate`. 0: always goes on."""
    lease_seconds: Annotated[int, Field(ge=20)] = 120
    """Without a sign of life for so long from a retrain on another machine, or a frozen one, another may start."""


class SasRecParams(Section):
    """The baseline `sasrec` of benchmarks (docs/bench.md), outside the pipeline; ML-1M's preset has a larger one."""

    width: PositiveInt = 64
    """Of item vectors and hidden states; a multiple of `heads`."""
    layers: PositiveInt = 2
    """Transformer layers."""
    heads: PositiveInt = 2
    """Attention heads."""
    max_length: PositiveInt = 50
    """Items of a history that are read: the latest."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of values that is set to zero in training."""
    epochs: PositiveInt = 20
    """At most; every position of the train part is asked for once in each. The learning rate falls to 0 over these."""
    batch_size: PositiveInt = 32
    """Windows of at most `max_length` positions per step."""
    learning_rate: PositiveFloat = 1e-3
    """Highest learning rate, after the warm-up; then it falls as half a cosine."""
    warmup: PositiveInt = 50
    """Steps until the learning rate is reached."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    """Of AdamW; biases and norms are not decayed."""
    check_every: PositiveInt = 1
    """Epochs between checks against the valid part, and between saved training states."""
    patience: NonNegativeInt = 10
    """Checks without a smaller loss after which training ends with its best weights; 0: all epochs."""


class RegistryParams(Section):
    """Where a finished model is registered."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "ilm"
    """Name of the registered model in MLflow."""


class Params(Section):
    """The whole of params.yaml."""

    data: DataParams = DataParams()
    validate_: ValidateParams = Field(default=ValidateParams(), alias="validate")
    split: SplitParams = SplitParams()
    cf: CfParams = CfParams()
    pairs: PairsParams = PairsParams()
    model: ModelParams = ModelParams()
    pretrain: PretrainParams = PretrainParams()
    finetune: FinetuneParams = FinetuneParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    elm: ElmParams = ElmParams()
    gate: GateParams = GateParams()
    retrain: RetrainParams = RetrainParams()
    sasrec: SasRecParams = SasRecParams()
    registry: RegistryParams = RegistryParams()

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "Params":
        wrong = broken_rules(self.model_dump(by_alias=True))
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check the settings.

    Raises:
        ConfigError: the file is missing or not YAML, or has unknown keys or wrong values (all listed at once).
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found. Run from the project's root folder, where params.yaml lies.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({' '.join(str(error).split())}). Mend the syntax.") from None
    try:
        return Params.model_validate(raw or {})
    except ValidationError as error:
        lines = [f"  {'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}" for e in error.errors()]
        count = f"{len(lines)} setting{'s are' if len(lines) > 1 else ' is'} wrong"
        raise ConfigError(f"{path}: {count}; see docs/settings.md.\n" + "\n".join(lines)) from None
