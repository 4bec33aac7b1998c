import importlib.util

import pytest

from ilm.elm.endpoint import EndpointTeacher
from ilm.errors import ConfigError


def test_missing_client_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openai" else found(name))
    with pytest.raises(ConfigError, match=r"pip install -e '.\[teacher\]'"):
        EndpointTeacher("m", "http://127.0.0.1:1/v1", "KEY", 60, {})
