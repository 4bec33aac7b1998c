"""Schemathesis reads the OpenAPI description and sends what it can think of: nothing ends in a 500, or in an answer
that the description does not know."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from ilm.serve.api.application import make_application
from ilm.serve.api.limits import Limits
from ilm.serve.api.served import Served, ServedModel


@pytest.fixture(scope="module")
def description(tiny_model):
    served = Served()
    served.exchange(ServedModel(tiny_model, "7"))
    return schemathesis.openapi.from_asgi("/openapi.json", make_application(served, Limits()))


CHECKS = list(HealthCheck)
REFUSALS = positive_data_acceptance
"""A request may be well-formed and yet name nobody, or both a user and a history: 422, as the description says."""
OPERATIONS = [
    ("/recommend", "post"), ("/items/{item_id}", "get"), ("/v1/chat/completions", "post"), ("/v1/models", "get"),
    ("/v1/models/{name}", "get"),
    ("/health", "get"), ("/ready", "get"), ("/metrics", "get"),
]  # fmt: skip


def test_all_operations_are_tried(description):
    found = [operation.ok() for operation in description.get_all_operations()]
    assert {(operation.path, operation.method) for operation in found} == set(OPERATIONS)


@pytest.mark.parametrize("examples", [25, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_one_that_the_description_knows(description, path, method, examples):
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
    @given(description[path][method].as_strategy())
    def attack(case):
        case.call_and_validate(excluded_checks=[REFUSALS])

    attack()
