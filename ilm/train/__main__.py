"""Train where nothing of the pipeline is installed: `python -m ilm.train pretrain|finetune`, on one device or on many.

Needs torch, transformers, accelerate, safetensors, numpy and pyarrow (gguf for the built-in language model). Runs the
code that the pipeline's steps run, on a folder that `ilm export-features` made.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ilm.errors import IlmError
from ilm.train.messages import Outbox
from ilm.train.orphans import end_with_parent
from ilm.train.settings import read_settings

EXAMPLES = """\
examples:
  python -m ilm.train pretrain --features features --out models/encoder
  python -m ilm.train finetune --features features --out models/ilm --set finetune.steps=900
  torchrun --nproc-per-node 4 -m ilm.train pretrain --features features --out models/encoder --set model.precision=bf16

`ilm export-features features` makes the folder, where the pipeline runs. A GPU is used if there is one. A run that was
cut short goes on where it was; several machines need a file system that they share.
"""


def main() -> None:
    """Entry point. A user's mistake gives one message and exit code 2; a defect keeps its traceback."""
    arguments = _parser().parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    outbox = Outbox(arguments.messages) if arguments.messages else None
    try:
        if outbox:
            end_with_parent()
            if outbox.is_over():
                sys.exit(2)
        _run(arguments, outbox.log if outbox else _print_some)
    except IlmError as error:
        if outbox:
            outbox.mistake(error)
        else:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if not outbox:
            print("interrupted. Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    except Exception:
        if not outbox:
            raise
        outbox.crash()
        sys.exit(1)
    finally:
        if "torch" in sys.modules:
            from ilm.train.distributed import leave_processes

            leave_processes()


def _run(arguments: argparse.Namespace, log: Callable[[dict[str, float], int], None]) -> None:
    features, out = arguments.features, arguments.out
    settings = read_settings(arguments.settings or features, arguments.set)
    sharded = settings["train"]["language_model"] == "sharded"
    checkpoints = (arguments.checkpoints or out.parent / ".checkpoints") / arguments.stage
    if arguments.stage == "pretrain":
        from ilm.train.run_pretrain import PretrainInputs, run_pretrain

        inputs = PretrainInputs.in_folder(features)
        run_pretrain(inputs, out, settings["model"], settings["pretrain"], checkpoints, log, sharded)
    else:
        from ilm.train.run_finetune import FinetuneInputs, run_finetune

        finetune_inputs = FinetuneInputs.in_folder(features, arguments.encoder or out.parent / "encoder")
        max_history = settings["pairs"]["max_history"]
        run_finetune(
            finetune_inputs,
            out,
            settings["model"],
            settings["finetune"],
            max_history,
            checkpoints,
            log,
            arguments.earlier,
            sharded,
        )


def _print_some(values: dict[str, float], step: int) -> None:
    """A line per tenth step and per evaluation, where no terminal shows a bar."""
    if not sys.stderr.isatty() and (step % 10 == 0 or any("held_out" in name or "recall" in name for name in values)):
        print(f"step {step}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m ilm.train",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=["pretrain", "finetune"], help="stage 1 or stage 2")
    parser.add_argument("--features", type=Path, required=True, metavar="DIR", help="what `ilm export-features` made")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="trained model; written whole or not at all"
    )
    parser.add_argument(
        "--encoder", type=Path, metavar="DIR", help="finetune: what pretrain wrote (default: OUT/../encoder)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.SETTING=VALUE", help="override a setting"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="state of runs that have not ended (default: OUT/../.checkpoints)",
    )
    parser.add_argument("--settings", type=Path, metavar="DIR", help="folder of settings.json (default: FEATURES)")
    parser.add_argument(
        "--earlier", type=Path, metavar="DIR", help="finetune: a model of the same CF space and settings to go on from"
    )
    parser.add_argument(
        "--messages",
        type=Path,
        metavar="DIR",
        help="tell values and mistakes in files, for the step that started this",
    )
    return parser


if __name__ == "__main__":
    main()
