"""The API against its own description: whatever fits /openapi.json, or just does not, is answered as it says.

``VB_NODE_LONG=1`` asks forty times as often, anew each time.
"""

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from people import TOKENS, add_job, add_users
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from web_process import WebProcess

DESTINATION = '\n[[destinations]]\nname = "pacs"\nae_title = "PACS"\n'
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
IS_LONG = bool(os.environ.get("VB_NODE_LONG"))
EXAMPLES = 1000 if IS_LONG else 25


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    process = WebProcess(tmp_path_factory.mktemp("web"), DESTINATION).start()
    add_users(process.database)
    for _ in range(3):
        add_job(process.database)
    yield schemathesis.openapi.from_url(f"{process.url}/openapi.json")
    process.stop()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_no_request_makes_the_api_fail_or_answer_what_it_does_not_describe(
    described: schemathesis.BaseSchema, mode: GenerationMode
) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    asked = [one for one in operations if mode == GenerationMode.POSITIVE or list(one.iter_parameters())]

    for operation in asked:

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=not IS_LONG, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {TOKENS['admin']}"}, checks=CHECKS)

        ask()

    assert len(asked) >= 6
