"""`ilm serve`: the HTTP server, with the registry's champion behind it."""

import ipaddress
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ilm.errors import ConfigError
from ilm.serve.api.limits import Limits

KEY = "ILM_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MIN_KEY = 16


def serve(project: Path, model: str, host: str, port: int, limits: Limits, follow_seconds: float) -> None:
    """Serve until SIGINT or SIGTERM; requests that are under way then are answered.

    Args:
        project: root folder.
        model: "champion" follows the registry; another alias, a version's number or a folder is served as it is now.
        host, port: to listen at.
        limits: of load; `hosts` counts beside the names of loopback.
        follow_seconds: between two looks at the registry.

    Raises:
        ConfigError: it would be open to other machines without a key, or cannot listen there.
        IlmError: there is no champion, or it does not load.
    """
    key = required_key(host)
    limits = guarded(limits, host)
    import uvicorn

    from flows.registry import named_bundle
    from flows.served_models import ChampionFollower, tried
    from ilm.serve.api.application import make_application
    from ilm.serve.api.served import CHAMPION, ServedModel
    from ilm.serve.page.page import add_page

    logging.basicConfig(format="%(asctime)s  %(message)s", level=logging.WARNING)
    logging.getLogger("ilm").setLevel(logging.INFO)
    listening = _listening(host, port)
    follower = ChampionFollower(project, follow_seconds)
    if model == CHAMPION:
        follower.look()
    else:
        follower.served.exchange(ServedModel(tried(named_bundle(project, model)), Path(model).name))
    application = make_application(follower.served, limits, key)
    add_page(application)
    config = uvicorn.Config(
        application, host=host, port=port, log_level="info", access_log=False, server_header=False,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )  # fmt: skip
    if model == CHAMPION:
        follower.follow()
    address = f"[{host}]" if ":" in host else host
    print(
        f"serve  http://{address}:{listening.getsockname()[1]}  (a page; /docs: what programs may ask; Ctrl-C ends it)",
        flush=True,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        follower.end()


def required_key(host: str) -> str | None:
    """The API key of the environment; None if there is none, which only loopback allows.

    Raises:
        ConfigError: it is missing or too short to be one.
    """
    key = os.environ.get(KEY) or None
    if key is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} lets other machines in, so requests need a key: set {KEY} in the environment, or leave "
            "--host out to listen on 127.0.0.1 only."
        )
    if key is not None and (len(key) < MIN_KEY or not key.isascii() or not key.isprintable()):
        raise ConfigError(
            f"{KEY} has {len(key)} characters; a key needs at least {MIN_KEY}, all of them printable ASCII. "
            "`openssl rand -hex 32` makes one."
        )
    return key


def guarded(limits: Limits, host: str) -> Limits:
    """The limits with the host names of loopback, or with none where a key guards the door and none was asked for."""
    named: Sequence[str] = (*limits.hosts, *LOOPBACK, host) if limits.hosts or is_loopback(host) else ()
    return replace(limits, hosts=named)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen at {host}, port {port}: {error.strerror}. Choose another --port.") from None
    return listening
