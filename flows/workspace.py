"""`ilm init`: a workspace for your own data, which is a clone of this project with your files and settings, committed:
every command works in it, and retrains find all they need in its git.
"""

import gzip
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilm.errors import DataError, IlmError
from ilm.files import replaced

if TYPE_CHECKING:
    from ilm.data.ingest import Ingested
    from ilm.data.proposal import Found, Proposal

ROOT = Path(__file__).parents[1]
FORMS = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True)
class Files:
    """The user's two files."""

    interactions: Path
    items: Path


def init(folder: Path, files: Files, given: Mapping[str, str], confirmed: Callable[[], bool]) -> None:
    """Look at the files, print what is proposed, and make the workspace if that is confirmed.

    Args:
        folder: to be made.
        files: as they are.
        given: our column -> the file's, where the proposal would be wrong.
        confirmed: asked after the proposal is printed.

    Raises:
        IlmError: a file is not readable or too long for the memory at hand, it is not clear what is what, too little is
            there to learn from, or the folder is there already.
    """
    from ilm.data.chosen_settings import choose
    from ilm.data.folder import read_whole
    from ilm.data.ingest import ingest
    from ilm.data.long_file import require_room_for
    from ilm.data.proposal import propose
    from ilm.data.raw import RawTable, Source

    _require(folder, files)
    require_room_for(
        files.interactions,
        "begin with a part of it, and copy the rest to data/logs of the new workspace, where it is read day by day "
        "(docs/logs.md)",
    )
    interactions, items = (read_whole(path) for path in (files.interactions, files.items))
    proposal = propose(interactions, items, given)
    tables = (
        RawTable(files.interactions.name, interactions, _names(proposal.interactions)),
        RawTable(files.items.name, items, _names(proposal.items), "data.item_columns"),
    )
    found = ingest(Source(*tables), max_quarantine_fraction=1.0)
    choices, sizes = choose(found.interactions, found.items)
    print("\n".join(_lines(files, proposal, found, (len(interactions), len(items)))))
    print(f"left to learn from: {sizes.users:,} users, {sizes.items:,} items, {sizes.interactions:,} interactions")
    print("\n".join(f"{choice.setting}: {choice.value}  ({choice.why})" for choice in choices))
    if not confirmed():
        print("init  nothing was written.")
        return
    settings = {
        "data.source": "folder",
        "data.interaction_columns": _mapped(proposal.interactions),
        "data.item_columns": _mapped(proposal.items),
    } | {choice.setting: choice.value for choice in choices}
    _write(folder, files, settings)
    print(f"init  {folder}\ntry next\n  cd {folder}\n  ilm train --bootstrap")


def with_settings(params: str, settings: Mapping[str, Any]) -> str:
    """The text of params.yaml with other values; comments stay.

    Args:
        params: the text.
        settings: "section.key" -> value.
    """
    import json

    for name, value in settings.items():
        section, key = name.split(".")
        pattern = re.compile(rf"(?ms)^({section}:[^\n]*\n(?:(?:[ #][^\n]*)?\n)*?  {key}: )([^#\n]*?)(\s*#[^\n]*)?$")
        found = pattern.search(params)
        if found is None:
            raise IlmError(f"params.yaml: no setting {name}. Restore the file: git checkout params.yaml.")
        params = f"{params[: found.start(2)]}{json.dumps(value)}{params[found.end(2) :]}"
    return params


def _require(folder: Path, files: Files) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise IlmError(f"{folder}: is there already. Name a new folder.")
    if not (ROOT / ".git").exists():
        raise IlmError(f"{ROOT}: a workspace is a clone of this project, and this is no git checkout. Clone it first.")
    for path in (files.interactions, files.items):
        if not path.is_file():
            raise DataError(f"{path}: no such file.")
        if not any(path.name.removesuffix(".gz").endswith(form) for form in FORMS):
            raise DataError(f"{path}: must be {', '.join(FORMS)}, or the last two with .gz. Export it in one of these.")


def _write(folder: Path, files: Files, settings: Mapping[str, Any]) -> None:
    with replaced(folder.resolve()) as temporary:
        _git(ROOT, "clone", "--quiet", "--local", str(ROOT), str(temporary))
        params = temporary / "params.yaml"
        params.write_text(with_settings(params.read_text(encoding="utf-8"), settings), encoding="utf-8")
        for stem, path in (("interactions", files.interactions), ("items", files.items)):
            name = path.name.removesuffix(".gz")
            target = temporary / "data/raw" / f"{stem}{Path(name).suffix}"
            with gzip.open(path) if path.name != name else path.open("rb") as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
        identity = ("-c", "user.name=ilm init", "-c", "user.email=ilm@localhost")
        _git(temporary, *identity, "commit", "--quiet", "--all", "--message", f"Settings for {files.interactions.name}")
        _git(temporary, "remote", "rename", "origin", "upstream")


def _git(folder: Path, *words: str) -> None:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    if done.returncode:
        raise IlmError(f"git {words[0]} failed: {done.stderr.strip()}. Mend that, then run the command again.")


def _names(found: "Mapping[str, Found]") -> dict[str, str]:
    return {ours: column.column for ours, column in found.items()}


def _mapped(found: "Mapping[str, Found]") -> dict[str, str]:
    """Columns that are called otherwise than ours."""
    return {ours: column.column for ours, column in found.items() if column.column != ours}


def _lines(files: Files, proposal: "Proposal", found: "Ingested", rows: tuple[int, int]) -> list[str]:
    lines = []
    for path, count, columns in (
        (files.interactions, rows[0], proposal.interactions),
        (files.items, rows[1], proposal.items),
    ):
        lines.append(f"{path.name}: {count:,} rows")
        lines += [f"  {ours:<11} <- {column.column:<20} {column.why}" for ours, column in columns.items()]
    texts = [name for name in found.items.columns if name not in ("item_id", "title")]
    lines.append(f"  {'texts':<11} <- {', '.join(texts) or 'none: only titles tell items apart'}")
    if "timestamp" in found.interactions.columns and found.interactions["timestamp"].dtype.is_temporal():
        first, *_, last = found.interactions["timestamp"].sort().dt.strftime("%Y-%m-%d")
        lines.append(f"from {first} to {last}")
    aside = found.quarantine.group_by("rule", maintain_order=True).len().rows() if len(found.quarantine) else []
    rules = ", ".join(f"{rule} {count:,}" for rule, count in aside)
    lines.append(f"set aside: {len(found.quarantine):,} rows{f' ({rules})' if rules else ''}")
    return lines
