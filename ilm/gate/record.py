"""The decision on paper: decision.json for machines, decision.md for people. Equal inputs give equal bytes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ilm.files import write_json, write_text
from ilm.gate.decision import Decision
from ilm.gate.holdout import Holdout
from ilm.params import Params

FORMAT = "ilm-gate-decision/1"
JSON, MARKDOWN = "decision.json", "decision.md"


@dataclass(frozen=True)
class ModelFacts:
    """Which model was compared."""

    digest: str
    """SHA-256 of its folder (`ilm.files.digest`), as the registry keeps it."""
    fitted_until: str
    """ISO, UTC."""
    space_id: str
    """The CF space that it lives in."""


@dataclass(frozen=True)
class HoldoutFacts:
    """By what the models were compared."""

    cut: str
    until: str | None
    users: int
    cases: int
    newcomers: int
    eligible: int
    left_out: int
    sha256: str

    @classmethod
    def of(cls, holdout: Holdout) -> "HoldoutFacts":
        """Sizes, moments (ISO, UTC) and digest."""
        until = holdout.until.isoformat() if holdout.until else None
        sizes = (len(holdout.users), len(holdout.targets), holdout.newcomers, holdout.eligible, holdout.left_out)
        return cls(holdout.cut.isoformat(), until, *sizes, holdout.sha256)


@dataclass
class Circumstances:
    """What a decision was made about; filled as far as the comparison comes."""

    code: str
    """Version of the code that decided, such as a git commit."""
    params: Params
    bootstrap: bool
    champion: ModelFacts | None = None
    challenger: ModelFacts | None = None
    holdout: HoldoutFacts | None = None
    settings: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        params = self.params
        self.settings = {
            "gate": params.gate.model_dump(),
            "evaluate.batch_size": params.evaluate.batch_size,
            "pairs.max_profile": params.pairs.max_profile,
            "split.min_item_interactions": params.split.min_item_interactions,
        }


def document(decision: Decision, about: Circumstances) -> dict[str, Any]:
    """What decision.json holds."""
    return {
        "format": FORMAT,
        "outcome": decision.outcome,
        "reasons": list(decision.reasons),
        "test": decision.test and asdict(decision.test),
        "metrics": {row.metric: asdict(row) for row in decision.rows},
        "guardrails": [asdict(guardrail) for guardrail in decision.guardrails],
        "champion": about.champion and asdict(about.champion),
        "challenger": about.challenger and asdict(about.challenger),
        "holdout": about.holdout and asdict(about.holdout),
        "bootstrap": about.bootstrap,
        "code": about.code,
        "settings": about.settings,
    }


def write_record(folder: Path, decision: Decision, about: Circumstances) -> None:
    """Write both files into the folder."""
    write_json(folder / JSON, document(decision, about))
    write_text(folder / MARKDOWN, page(decision, about))


def page(decision: Decision, about: Circumstances) -> str:
    """What decision.md holds."""
    parts = [f"# Gate: {decision.outcome}", "\n".join(f"- {_line(reason)}" for reason in decision.reasons)]
    if decision.rows:
        level = f"{1 - 2 * about.params.gate.alpha:.0%} interval"
        rows = [
            [
                f"**{row.metric}**" if row.metric == about.params.gate.metric else row.metric,
                f"{row.champion:.4f}", f"{row.challenger:.4f}", f"{row.difference:+.4f}",
                f"{row.low:+.4f} to {row.high:+.4f}",
                f"{decision.test.p_value:.4g}" if decision.test and decision.test.metric == row.metric else "",
            ]
            for row in decision.rows
        ]  # fmt: skip
        parts.append(_table(["metric", "champion", "challenger", "difference", level, "p, one-sided"], rows))
    if decision.guardrails:
        rows = [
            [rail.name, rail.verdict, _number(rail.champion), _number(rail.challenger), rail.rule]
            for rail in decision.guardrails
        ]
        parts.append("## Guardrails")
        parts.append(_table(["guardrail", "verdict", "champion", "challenger", "rule"], rows))
    parts.append("## What was compared")
    parts.append(_table(["", ""], _compared(decision, about)))
    return "\n\n".join(parts) + "\n"


def _compared(decision: Decision, about: Circumstances) -> list[list[str]]:
    rows = []
    for name, model in (("champion", about.champion), ("challenger", about.challenger)):
        if model is None:
            rows.append([name, "none"])
            continue
        said = f"`{model.digest}`, fitted until {model.fitted_until}, CF space `{model.space_id}`"
        rows.append([name, said])
    if (holdout := about.holdout) is not None:
        rows.append(["holdout", f"after {holdout.cut} until {holdout.until}, `{holdout.sha256}`"])
        users = f"{holdout.users:,} of {holdout.eligible:,}, {holdout.newcomers:,} of them newcomers"
        users += f"; {holdout.left_out:,} left out; {holdout.cases:,} targets"
        rows.append(["users", users])
    if (test := decision.test) is not None:
        rows.append(["proved with power", f"{test.detectable:.4f} above the margin ({test.margin:g})"])
    rows.append(["bootstrap", "yes" if about.bootstrap else "no"])
    rows.append(["code", about.code])
    gate = about.settings["gate"] | {name: value for name, value in about.settings.items() if name != "gate"}
    rows.append(["settings", ", ".join(f"{name} {value}" for name, value in gate.items())])
    return rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_line(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
