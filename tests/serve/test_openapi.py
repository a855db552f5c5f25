"""`/openapi.json` is true: schemathesis invents requests, and every answer must be one that the document names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.serve.conftest import Running

schemathesis: Any = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

EXAMPLES = 3
"""Requests invented for each operation; enough to find a wrong document, few enough for every run."""


def test_every_answer_is_one_that_the_document_names(server: Running):
    from schemathesis import checks
    from schemathesis.specs.openapi import checks as openapi

    interface = schemathesis.openapi.from_url(f"{server.url}openapi.json")
    wanted = [
        checks.not_a_server_error,
        openapi.status_code_conformance,
        openapi.content_type_conformance,
        openapi.response_schema_conformance,
    ]
    positive = schemathesis.GenerationMode.POSITIVE
    operations = [result.ok() for result in interface.get_all_operations()]
    paths = server.client.get("/openapi.json").json()["paths"]
    assert len(operations) == len(paths) - 1  # schemathesis leaves the document itself out
    for operation in operations:
        # A path may hold any text, so that a GET cannot be asked wrongly; trying to takes a minute.
        for mode in schemathesis.GenerationMode if operation.label.startswith("POST") else (positive,):

            @settings(
                max_examples=EXAMPLES,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                case.call_and_validate(checks=wanted)

            ask()
