"""`ilm serve` under load, against the bare model call: seconds of one client, both and the rate of many."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.timing import Result
from benchmarks.untrained import histories, untrained
from ilm.cf import factors as cf_factors
from ilm.model.storage import save_bridge
from ilm.serve.bundle import make_bundle
from ilm.serve.item_language_model import ItemLanguageModel

ROOT = Path(__file__).parents[1]


def run(
    llm: str = "smollm2-135m-instruct",
    items: int = 3500,
    users: int = 64,
    history: int = 20,
    clients: Sequence[int] = (1, 8, 32),
    requests: int = 64,
) -> Result:
    """Median seconds of `POST /recommend` for one client / of `rank` in this process, taking turns."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = untrained_bundle(Path(scratch), llm, items, users, history)
        model = ItemLanguageModel.from_pretrained(bundle)
        with serving(ROOT, "--model", str(bundle), "--queue", "256") as address:
            bare, served = _one_client(address, model, users, requests)
            loads = {count: asyncio.run(_load(address, users, count, requests)) for count in clients}
    rate = "requests_per_second"
    detail = {
        "bare_seconds": bare, "served_seconds": served,
        "clients": {str(count): load for count, load in loads.items()},
        "gain_of_batching": loads[clients[-1]][rate] / loads[clients[0]][rate], "gain_goal": ">= 2",
        "llm": llm, "items": items, "history": history, "threads": torch.get_num_threads(),
    }  # fmt: skip
    return {"name": "serve", "ratio": served / bare, "goal": "<= 1.3", "detail": detail}


@contextmanager
def serving(home: Path, *words: str) -> Iterator[str]:
    """Address of `ilm serve` of a project, in a process of its own with this one's number of threads."""
    command = [sys.executable, "-m", "flows.cli", "serve", "--port", "0", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield next(line.split()[1] for line in process.stdout if line.startswith("serve  "))
    finally:
        process.terminate()
        process.wait()


def _one_client(address: str, model: ItemLanguageModel, users: int, requests: int) -> tuple[float, float]:
    bare, served = [], []
    with httpx.Client(base_url=address, timeout=60, transport=httpx.HTTPTransport(retries=20)) as client:
        for number in range(-2, requests):  # the first two warm up
            user = f"u{number % users}"
            start = time.perf_counter()
            model.rank(user=user, k=10)
            middle = time.perf_counter()
            client.post("/recommend", json={"user": user, "k": 10}).raise_for_status()
            end = time.perf_counter()
            if number >= 0:
                bare.append(middle - start)
                served.append(end - middle)
    return median(bare), median(served)


async def _load(address: str, users: int, clients: int, requests: int) -> dict[str, float]:
    """Rate and seconds of the requests of so many clients, each of which asks again as soon as it is answered."""
    numbers = iter(range(requests * (1 if clients == 1 else 4)))
    seconds = []

    async def ask_on(client: httpx.AsyncClient) -> None:
        for number in numbers:
            begun = time.perf_counter()
            answer = await client.post("/recommend", json={"user": f"u{number % users}", "k": 10})
            answer.raise_for_status()
            seconds.append(time.perf_counter() - begun)

    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        start = time.perf_counter()
        await asyncio.gather(*(ask_on(client) for _ in range(clients)))
        rate = len(seconds) / (time.perf_counter() - start)
    return {
        "requests_per_second": rate,
        "p50_seconds": median(seconds),
        "p95_seconds": float(np.quantile(seconds, 0.95)),
    }


def untrained_bundle(folder: Path, llm: str, items: int, users: int, history: int) -> Path:
    """An untrained model with made-up users, as it is handed on."""
    model, card, factors = untrained(llm, items, history)
    features = folder / "features"
    features.mkdir()
    cf_factors.save(features / "cf.safetensors", factors)
    numbers = pa.array(np.arange(items, dtype=np.int32))
    titles = [f"Title of item {number}" for number in range(items)]
    catalogue = {"item_index": numbers, "item_id": numbers.cast(pa.string()), "title": titles, "active": [True] * items}
    pq.write_table(pa.table(catalogue), features / "catalogue.parquet")
    indexes = np.arange(users, dtype=np.int32)
    ids = {"user_index": indexes, "user_id": [f"u{number}" for number in range(users)]}
    pq.write_table(pa.table(ids), features / "user_ids.parquet")
    sequences = {
        "user_index": np.repeat(indexes, history),
        "item_index": np.concatenate(histories(users, items, history)),
    }
    pq.write_table(pa.table(sequences), features / "sequences.parquet")
    save_bridge(folder / "model", model, card, [])
    make_bundle(folder / "bundle", features, folder / "model")
    return folder / "bundle"
