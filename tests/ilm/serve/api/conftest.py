"""A tiny model behind a real server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ilm import ItemLanguageModel
from ilm.serve.api.application import make_application
from ilm.serve.api.limits import Limits
from ilm.serve.api.served import Served, ServedModel
from tests.http_server import listening


@pytest.fixture(scope="session")
def tiny_model(model_folder: Path) -> ItemLanguageModel:
    return ItemLanguageModel.from_pretrained(model_folder)


@pytest.fixture(scope="session")
def address(tiny_model: ItemLanguageModel) -> Iterator[str]:
    """Of a server with version 7 as champion and no challenger."""
    served = Served()
    served.exchange(ServedModel(tiny_model, "7"))
    with listening(make_application(served, Limits())) as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as made:
        yield made
