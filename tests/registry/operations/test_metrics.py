"""Metrics: for Prometheus alone where it matters, and as small after a crawl as before it."""

from typing import Any

from django.test import Client

from tests.conftest import Stage
from tests.evaluations.runs.test_pages import client_of


def test_in_production_metrics_want_a_token(db: None, settings: Any):
    settings.PRODUCTION = True
    assert Client().get("/metrics").status_code == 404

    settings.METRICS_TOKEN = "s3cret"
    assert Client().get("/metrics").status_code == 401
    assert Client().get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert Client().get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_a_crawl_adds_no_line(stage: Stage, settings: Any):
    settings.PRODUCTION = False
    client = client_of(stage.ada)
    # One of each area and status first.
    for path in ("/p/paper/prompts/", "/p/paper/nothing/", "/api/v1/prompts", "/api/v1/none", "/metrics"):
        client.get(path)
    before = client.get("/metrics").content

    for number in range(30):
        client.get(f"/p/paper/prompts/name{number}/")
        client.get(f"/api/v1/prompts/name{number}")
    after = client.get("/metrics").content

    assert after.count(b"\n") == before.count(b"\n")
    assert b'cuebook_request_seconds_count{area="api",status="4xx"}' in after
    assert len(after) < 50_000
