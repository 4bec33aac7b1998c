"""A new champion takes over under load: how many requests are lost, and how long nobody is answered, against a time
without an exchange.
"""

import asyncio
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import httpx
import torch

from benchmarks.serve import serving, untrained_bundle
from benchmarks.timing import Result
from flows.registry_store import CHAMPION, Registry

FOLLOW_SECONDS = 0.5
TIMEOUT = 60.0


@dataclass
class _Told:
    """What the clients saw: (when, by which version) of each answer."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    seconds: list[tuple[float, float]] = field(default_factory=list)
    lost: int = 0


def run(
    llm: str = "smollm2-135m-instruct",
    items: int = 3500,
    users: int = 64,
    history: int = 20,
    clients: int = 8,
    seconds: float = 20.0,
) -> Result:
    """Longest time without any answer while version 2 is loaded, tried and exchanged for 1 / the same before it."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        bundle = untrained_bundle(Path(scratch), llm, items, users, history)
        with patch.dict(os.environ, MLFLOW_TRACKING_URI=f"sqlite:///{home / 'mlflow.db'}"):  # nobody's own registry
            registry = _registry(home, bundle)
            with serving(home, "--follow", str(FOLLOW_SECONDS)) as address:
                told, promoted = asyncio.run(_exchanged(address, registry, users, clients, seconds))
    times = [when for when, _ in told.answers]
    first_of_new = next(when for when, version in told.answers if version == "2")
    before = _gap([when for when in times if when < promoted])
    during = _gap([when for when in times if when > promoted - before and when < first_of_new + before])
    detail = {
        "lost": told.lost, "lost_goal": 0, "answered": len(times), "clients": clients,
        "gap_seconds": during, "gap_seconds_before": before,
        "longest_request_seconds": max(taken for when, taken in told.seconds if when > promoted),
        "longest_request_seconds_before": max(taken for when, taken in told.seconds if when < promoted),
        "promotion_to_first_answer_seconds": first_of_new - promoted,
        "llm": llm, "items": items, "history": history, "threads": torch.get_num_threads(),
    }  # fmt: skip
    return {"name": "serve_exchange", "ratio": during / before, "goal": "lost 0", "detail": detail}


async def _exchanged(address: str, registry: Registry, users: int, clients: int, seconds: float) -> tuple[_Told, float]:
    """What clients see that ask without pause, and when version 2 was promoted: after `seconds`."""
    told, ended = _Told(), asyncio.Event()

    async def ask_on(client: httpx.AsyncClient, number: int) -> None:
        while not ended.is_set():
            number += clients
            begun = time.perf_counter()
            try:
                answer = await client.post("/recommend", json={"user": f"u{number % users}", "k": 10})
                version = answer.raise_for_status().json()["version"]
            except httpx.HTTPError:
                told.lost += 1
                continue
            now = time.perf_counter()
            told.answers.append((now, version))
            told.seconds.append((now, now - begun))

    transport = httpx.AsyncHTTPTransport(retries=20)
    async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT, transport=transport) as client:
        await client.get("/health")
        asking = [asyncio.create_task(ask_on(client, number)) for number in range(clients)]
        await asyncio.sleep(seconds)
        promoted = time.perf_counter()
        await asyncio.to_thread(registry.set_alias, CHAMPION, "2")
        while told.answers[-1][1] != "2" and time.perf_counter() < promoted + TIMEOUT:
            await asyncio.sleep(0.05)
        await asyncio.sleep(seconds / 2)
        ended.set()
        await asyncio.gather(*asking)
    return told, promoted


def _registry(home: Path, bundle: Path) -> Registry:
    """A registry on SQLite whose versions 1 and 2 are this model."""
    (home / "params.yaml").write_text("")
    registry = Registry.open(home)
    registry.client.create_registered_model(registry.name)
    for number in (1, 2):
        version = home / f"version{number}"
        shutil.copytree(bundle, version / "artifacts" / "bundle")
        registry.client.create_model_version(registry.name, version.as_uri())
    registry.set_alias(CHAMPION, "1")
    return registry


def _gap(times: list[float]) -> float:
    """The longest time between two answers."""
    return max(later - earlier for earlier, later in pairwise(times))
