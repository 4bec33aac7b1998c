"""What a language model of some size costs: seconds of a step of stage 2 and of a request, and memory.

`python -m benchmarks.language_models smollm2-135m-instruct llama-3.2-1b` measures built-in models, folders, and shapes:
models with the sizes of known ones and random weights, since neither time nor memory depends on what weights say. Each
form of each model is a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.2-1b": {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128_256, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Sizes of published models; the tokenizer is the built-in model's, whose ids they all have."""
FORMS = (("fp32", "none"), ("bf16", "none"), ("bf16", "nf4"))
STEP, REQUEST = (4, 120), (1, 120)
"""Prompts and tokens of each: a step of 480 tokens, and somebody with twenty items."""
REPETITIONS = 3


def main(names: list[str]) -> None:
    """Print a line for each form of each model."""
    with tempfile.TemporaryDirectory(prefix="ilm-shapes-") as scratch:
        for name in names:
            folder = _write(SHAPES[name], Path(scratch) / name) if name in SHAPES else name
            for precision, quantisation in FORMS:
                command = [sys.executable, "-m", "benchmarks.language_models", "--measure", str(folder)]
                done = subprocess.run([*command, precision, quantisation], capture_output=True, text=True)
                found = done.stdout.strip() if not done.returncode else done.stderr.strip().splitlines()[-1]
                print(f"{name}  {precision}  {quantisation}  {found}", flush=True)


def measure(name: str, precision: str, quantisation: str) -> dict[str, float]:
    """Seconds, the best of some; and memory afterwards that is not the files' own pages, in MB."""
    import torch

    from ilm.model.language_model import load_language_model
    from ilm.train.distributed import PRECISIONS

    model = load_language_model(name, dtype=PRECISIONS[precision], quantisation=quantisation)
    torch.manual_seed(0)

    def step() -> None:
        inputs = torch.randn(*STEP, model.width, dtype=PRECISIONS[precision], requires_grad=True)
        model.hidden_states(inputs).float().square().mean().backward()

    @torch.no_grad()
    def request() -> None:
        model.hidden_states(torch.randn(*REQUEST, model.width, dtype=PRECISIONS[precision]))

    seconds = {work.__name__: round(_best(work), 2) for work in (step, request)}
    return {"million_weights": _weights(model.model), **seconds, "mb": _anonymous_mb()}


def _best(work: Any) -> float:
    work()
    taken = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _weights(model: Any) -> int:
    """Also of matrices that hold two in a byte."""
    numbers = sum(p.numel() * (2 if str(p.dtype) == "torch.uint8" else 1) for p in model.parameters())
    return round(int(numbers) / 1e6)


def _anonymous_mb() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) // 1024


def _write(shape: dict[str, Any], folder: Path) -> Path:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from ilm.model.builtin import resolve

    AutoTokenizer.from_pretrained(resolve("smollm2-135m-instruct")).save_pretrained(folder)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=1, eos_token_id=2, pad_token_id=2)).save_pretrained(folder)
    finally:
        torch.set_default_dtype(torch.float32)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["smollm2-135m-instruct", "llama-3.2-1b"])
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
    else:
        main(arguments.models)
