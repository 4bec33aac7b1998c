"""`python -m benchmarks`: run all benchmarks and write reports/bench.json."""

import importlib
import sys
from pathlib import Path

from benchmarks.timing import Result
from ilm.files import write_json

BENCHMARKS = (
    "stage2_step",
    "rank_head",
    "trie_beams",
    "stage1_step",
    "full_ranking",
    "ingest",
    "recommend",
    "serve",
    "serve_exchange",
)
REPORT = Path("reports/bench.json")


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all, and write their entries."""
    results: list[Result] = []
    for name in names or BENCHMARKS:
        result: Result = importlib.import_module(f"benchmarks.{name}").run()
        print(f"{result['name']}: {result['ratio']:.3f} (goal {result['goal']})  {result['detail']}", flush=True)
        results.append(result)
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, results)


if __name__ == "__main__":
    main(sys.argv[1:])
