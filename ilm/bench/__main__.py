"""Compare systems where the pipeline is not installed: `python -m ilm.bench`, on what `ilm export-features` made.

Needs polars, scipy and implicit beside what `python -m ilm.train` needs. `ilm bench project` does the same in a
project, and keeps a record.
"""

import argparse
import os
import sys
from pathlib import Path

from ilm.errors import IlmError
from ilm.train.settings import read_settings

EXAMPLES = """\
examples:
  python -m ilm.bench --features features --out bench --systems ilm ilm-rand mlp text --seeds 3
  python -m ilm.bench --features features --out bench --ablation stage1 --set finetune.steps=900

What is finished is kept in --out, and not computed again; the results are metrics.json, table.md and scores.parquet.
"""


def main() -> None:
    """Entry point. A user's mistake gives one message and exit code 2; a defect keeps its traceback."""
    parser = argparse.ArgumentParser(
        prog="python -m ilm.bench",
        description=(__doc__ or "").split("\n\n")[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--features", type=Path, required=True, help="folder that `ilm export-features` made")
    parser.add_argument("--out", type=Path, required=True, help="folder of results; what is there is kept")
    parser.add_argument("--systems", nargs="+", default=[], help="default: ilm ilm-rand mlp text and all id-only ones")
    parser.add_argument("--ablation", help="stage1, queries, encoder or cf-tokens, instead of systems")
    parser.add_argument("--seeds", type=int, default=3, help="how often each system is trained")
    parser.add_argument("--part", choices=("valid", "test"), default="test", help="choose settings on valid")
    parser.add_argument("--diagnose", action="store_true", help="rank also with parts of each model taken away")
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE")
    arguments = parser.parse_args()
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
    from ilm.bench.results import markdown, write_numbers
    from ilm.bench.systems import chosen_systems, run_systems
    from ilm.bench.trials import Trials

    systems = chosen_systems(arguments.systems, arguments.ablation)
    settings = read_settings(arguments.features, arguments.set)
    trials = Trials(arguments.features, arguments.out, settings, arguments.part)
    done, not_run = run_systems(trials, systems, arguments.seeds, arguments.diagnose)
    print(markdown(write_numbers(arguments.out / arguments.part, trials, done, not_run)))


if __name__ == "__main__":
    main()
