"""ELM-24 from the command line: `python -m ilm.elm references|train|judge`, on what `ilm export-features` made."""

import argparse
import os
import sys
from pathlib import Path

from ilm.errors import ConfigError, IlmError
from ilm.train.settings import read_settings

EXAMPLES = """\
examples:
  python -m ilm.elm references --features features --out elm/references
  python -m ilm.elm train --features features --references elm/references --encoder models/encoder --out elm/ilm
  python -m ilm.elm judge --features features --references elm/references --system ilm=elm/ilm --out elm/scores

Settings are those of section `elm`, in the settings.json that `ilm export-features` wrote; --set changes them.
"""


def main() -> None:
    """Entry point. A user's mistake gives one message and exit code 2; a defect keeps its traceback."""
    arguments = _parser().parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        _run(arguments)
    except IlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted. Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


def _run(arguments: argparse.Namespace) -> None:
    features, out = arguments.features, arguments.out
    settings = read_settings(features, arguments.set)
    if arguments.action == "references":
        from ilm.elm.run_references import make_references

        card = make_references(features, out, settings).card
        print(f"{card['texts']:,} texts, items {card['items']}, left out {card['left_out']}  {out}")
    elif arguments.action == "train":
        from ilm.elm.run_training import train_system

        checkpoints = out.parent / ".checkpoints" / "elm"
        train_system(features, arguments.references, arguments.encoder, out, settings, checkpoints, _print_some)
    else:
        from ilm.elm.run_judging import judge_systems
        from ilm.elm.table import markdown

        print(markdown(judge_systems(features, arguments.references, _systems(arguments.system), out, settings)))


def _systems(named: list[str]) -> dict[str, list[Path]]:
    """`name=folder` -> folders by name; a name that comes again is another seed."""
    systems: dict[str, list[Path]] = {}
    for entry in named:
        name, equals, folder = entry.partition("=")
        if not name or not equals or not folder:
            raise ConfigError(f"--system {entry}: must be name=FOLDER.")
        systems.setdefault(name, []).append(Path(folder))
    return systems


def _print_some(values: dict[str, float], step: int) -> None:
    """A line per tenth step, where no terminal shows a bar."""
    if not sys.stderr.isatty() and step % 10 == 0:
        print(f"step {step}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m ilm.elm", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    references = actions.add_parser("references", help="ask the teacher, once")
    training = actions.add_parser("train", help="train a system on the references, from its encoder on")
    judging = actions.add_parser("judge", help="compare systems on the held-out references")
    for action in (references, training, judging):
        action.add_argument("--features", type=Path, required=True, metavar="DIR", help="from `ilm export-features`")
        action.add_argument("--out", type=Path, required=True, metavar="DIR", help="written whole or not at all")
        action.add_argument("--set", action="append", default=[], metavar="SECTION.SETTING=VALUE", help="a setting")
    for action in (training, judging):
        action.add_argument("--references", type=Path, required=True, metavar="DIR", help="what `references` wrote")
    training.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="what stage 1 wrote")
    judging.add_argument(
        "--system", action="append", required=True, metavar="NAME=DIR", help="a model; again for more seeds or systems"
    )
    return parser


if __name__ == "__main__":
    main()
