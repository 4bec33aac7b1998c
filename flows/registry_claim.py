"""One promotion at a time, whoever asks and from whatever machine: a claim on the ledger's next number.

MLflow has no compare-and-swap for aliases and tags. But a registered model's name is unique in its database, so making
one either succeeds or finds it there: `<model>--promotion-000012-1` is that claim, and it goes when the promotion ends.
A claim whose owner died is never deleted while it matters; the next attempt (`-2`) takes over, and only one can.

What this cannot do: stop an owner that was frozen for longer than STALE_SECONDS on another machine and then wakes up
between its last look at the claim and a write. The next command finds that in the aliases, and the ledger says so.
"""

import re
import time
from dataclasses import dataclass

import psutil

from flows.registry_store import ABSENT, EXISTS, Registry, reached
from ilm.errors import IlmError
from tasks.process import has_ended, identity, runs_here

STALE_SECONDS = 600.0
"""After so long a claim from another machine counts as dead; between a claim and its end lie seconds."""
OWNER = "ilm.process"


class PromotionUnderWay(IlmError):
    """Somebody else promotes or rolls back just now."""


@dataclass(frozen=True)
class Claim:
    """A claim that was ours when it was made."""

    registry: Registry
    number: int
    """Of the first ledger entry that is not settled."""
    attempt: int

    def require(self) -> None:
        """Look whether it still is ours.

        Raises:
            PromotionUnderWay: somebody took it for dead.
        """
        found = _claims(self.registry, self.number)
        if max(found, default=0) != self.attempt or found[self.attempt].owner != identity(psutil.Process()):
            raise PromotionUnderWay("this promotion was silent for so long that another took over. See `ilm history`.")

    def release(self) -> None:
        """Give it up, with those of dead owners that it took over. Only once the number is settled, or untouched."""
        for attempt, found in sorted(_claims(self.registry, self.number).items()):
            if attempt <= self.attempt:
                _delete(self.registry, found.name)


def acquire(registry: Registry, number: int) -> Claim:
    """Claim a number; a dead owner's claim is taken over. To be called under the project's lock.

    Raises:
        PromotionUnderWay: a living owner has it, or was faster.
    """
    from mlflow.exceptions import MlflowException

    claims = _claims(registry, number)
    for found in claims.values():
        if not _is_dead(found):
            raise PromotionUnderWay(
                f"another promotion is under way: process {found.owner}. Try again when it has ended."
            )
    attempt = max(claims, default=0) + 1
    name = f"{registry.name}--promotion-{number:06d}-{attempt}"
    with reached():
        try:
            registry.client.create_registered_model(name, tags={OWNER: identity(psutil.Process())})
        except MlflowException as error:
            if error.error_code != EXISTS:
                raise
            raise PromotionUnderWay("another promotion was faster. See `ilm history`, then try again.") from None
    return Claim(registry, number, attempt)


def sweep(registry: Registry, number: int) -> None:
    """Remove what killed commands left: claims on numbers before this one, which are settled, and a dead one on it.

    Raises:
        PromotionUnderWay: a living owner has it.
    """
    found = _all(registry)
    for claim in found:
        if claim.number < number:
            _delete(registry, claim.name)
    if any(claim.number == number for claim in found):
        acquire(registry, number).release()


@dataclass(frozen=True)
class _Found:
    """A claim in the registry."""

    name: str
    number: int
    attempt: int
    owner: str
    since: float
    """Seconds since 1970, by the registry's clock."""


def _all(registry: Registry) -> list[_Found]:
    pattern = re.compile(rf"{re.escape(registry.name)}--promotion-(\d+)-(\d+)")
    with reached():
        models = registry.client.search_registered_models(f"name LIKE '{registry.name}--promotion-%'", max_results=1000)
    matches = [(model, match) for model in models if (match := pattern.fullmatch(model.name))]
    return [
        _Found(model.name, int(match[1]), int(match[2]), model.tags.get(OWNER, ""), model.creation_timestamp / 1000)
        for model, match in matches
    ]


def _claims(registry: Registry, number: int) -> dict[int, _Found]:
    """Attempt -> claim, on a number."""
    return {found.attempt: found for found in _all(registry) if found.number == number}


def _delete(registry: Registry, name: str) -> None:
    from mlflow.exceptions import MlflowException

    with reached():
        try:
            registry.client.delete_registered_model(name)
        except MlflowException as error:
            if error.error_code != ABSENT:
                raise


def _is_dead(claim: _Found) -> bool:
    """An owner on this machine is asked itself; this very process is no rival: it failed before, and tries again."""
    if claim.owner == identity(psutil.Process()) or has_ended(claim.owner):
        return True
    return not runs_here(claim.owner) and time.time() - claim.since > STALE_SECONDS
