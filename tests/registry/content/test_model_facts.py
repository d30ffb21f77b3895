"""What models take, as published, and what a version asks of them that they refuse."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from core.errors import Problem
from core.model_settings import laid_over, read_settings
from registry.content import lint
from registry.content.model_profiles.facts import UNKNOWN, ModelProfile, get_profile, vendor_of_address
from registry.content.model_profiles.refusals import refusals
from registry.content.normalize import normalise

LUNA = get_profile("gpt-6-luna", "openai")


def content(**members: Any) -> dict[str, Any]:
    return {"kind": "chat", "messages": [{"role": "user", "content": "x"}], **members}


def test_facts_are_found_by_vendor_alias_date_and_tuning():
    assert LUNA.endpoints == ("chat", "responses")
    assert LUNA.sampling == "without_reasoning"
    assert get_profile("gpt-6-luna-2026-08-01") == LUNA
    tuned = get_profile("ft:gpt-4o-mini-2024-07-18:org:tickets:x1")
    assert (tuned.shutdown_date, tuned.successor) == (date(2027, 1, 14), "gpt-6-luna")
    assert get_profile("claude-sonnet-5-5").vendor == "anthropic"
    assert get_profile("models/gemini-3.8-flash", "gemini").sampling == "never"
    assert get_profile("accounts/fireworks/models/nothing-like-it", "fireworks_ai") == ModelProfile("fireworks_ai")
    assert get_profile("gpt-6-luna", "anthropic") == ModelProfile("anthropic")
    assert get_profile("my-own-model") == UNKNOWN


def test_a_server_is_known_by_its_host():
    assert vendor_of_address("https://api.openai.com/v1") == "openai"
    assert vendor_of_address("https://acme.openai.azure.com/openai/v1?api-version=preview") == "openai"
    assert vendor_of_address("http://10.0.0.5:8080/v1") == ""


@pytest.mark.parametrize(
    ("model", "members", "refused"),
    [
        ("gpt-6-luna", {"model": {"temperature": 0}}, ["temperature"]),
        ("gpt-6-luna", {"model": {"temperature": 1}}, []),
        ("gpt-6-luna", {"model": {"temperature": 0, "reasoning": {"effort": "none"}}}, []),
        ("gpt-6-luna", {"model": {"reasoning": {"effort": "minimal"}}}, ["reasoning.effort"]),
        ("gpt-5.4", {"model": {"temperature": 0}}, []),
        ("gpt-5.4", {"model": {"temperature": 0, "reasoning_effort": "low"}}, ["temperature"]),
        ("gpt-4o-mini", {"model": {"temperature": 0}}, []),
        ("gpt-4o-mini", {"model": {"reasoning": {"effort": "low"}}}, ["reasoning.effort"]),
        ("gpt-4o-mini", {"model": {"max_tokens": 20_000}}, ["max_output_tokens"]),
        ("o3", {"model": {"top_p": 0.5}}, ["top_p"]),
        ("claude-sonnet-5-5", {"model": {"temperature": 0, "top_p": 1}}, ["temperature"]),
        ("claude-sonnet-5-5", {"messages": [
            {"role": "user", "content": "x"}, {"role": "assistant", "content": "{"}]}, ["prefill"]),
        ("gpt-5.5-pro", {"response": {"format": "json_schema", "schema": {}}}, ["response"]),
        ("my-own-model", {"model": {"temperature": 2, "reasoning": {"effort": "max"}}}, []),
    ],
)  # fmt: skip
def test_what_a_model_refuses_is_named(model: str, members: dict[str, Any], refused: list[str]):
    by_code = refusals(content(**members), get_profile(model), model)

    assert [refusal.setting for refusal in by_code] == refused
    assert all(model in refusal.sentence for refusal in by_code)


def test_what_a_prompt_asks_of_its_model_is_a_finding_while_it_is_written():
    written = content(model={"name": "gpt-4o-mini", "max_tokens": 99_999})

    by_code = {finding.code: finding for finding in lint.lint(lint.Subject(written, frozenset(), 10))}

    assert by_code["model.refuses"].pointer == "/model/max_tokens"
    assert by_code["model.refuses"].severity == "error"
    assert by_code["model.ends"].message == (
        "gpt-4o-mini is shut down on 2027-01-14. Its maker names gpt-6-luna as its successor."
    )
    assert not lint.lint(lint.Subject(content(model={"name": "gpt-6-luna"}), frozenset(), 10))


def test_corrections_lie_over_the_facts():
    corrected = LUNA.corrected({"efforts": ["none"], "shutdown_date": "2027-05-01", "nonsense": 1, "is_like": "x"})

    assert (corrected.reasons, corrected.shutdown_date) == (False, date(2027, 5, 1))
    assert corrected.max_output_tokens == LUNA.max_output_tokens
    refusing = LUNA.corrected({"refuses": ["seed"]})
    assert [refusal.setting for refusal in refusals(content(model={"seed": 1}), refusing, "m")] == ["seed"]


@pytest.mark.parametrize(
    ("refused", "model"),
    [
        ("reasoning", {"reasoning": {"effort": "low"}}),
        ("reasoning", {"reasoning_effort": "low"}),
        ("max_output_tokens", {"max_completion_tokens": 9}),
        ("max_tokens", {"max_output_tokens": 9}),
    ],
)
def test_a_refused_setting_is_found_by_its_meaning(refused: str, model: dict[str, Any]):
    found_refusals = refusals(content(model=model), ModelProfile(refuses=(refused,)), "m")
    assert [refusal.setting for refusal in found_refusals] == [refused]


def test_another_effort_leaves_the_summary():
    assert laid_over({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning": {"effort": "high"}}) == {
        "reasoning": {"effort": "high", "summary": "auto"}
    }


def test_flash_models_of_before_levels_can_be_told_not_to_think():
    assert get_profile("gemini-2.5-flash", "gemini").efforts == ("none", "minimal", "low", "medium", "high")


def test_settings_have_one_meaning_whatever_word_says_it():
    old = read_settings({"name": "m", "max_completion_tokens": 9, "reasoning_effort": "low", "seed": 1})
    new = read_settings({"max_output_tokens": 9, "reasoning": {"effort": "low", "summary": "auto"}})

    assert (old.max_output_tokens, old.effort) == (new.max_output_tokens, new.effort) == (9, "low")
    assert (dict(old.others), new.summary) == ({"seed": 1}, "auto")
    assert laid_over({"max_tokens": 9, "seed": 1}, {"max_output_tokens": 5}) == {"seed": 1, "max_output_tokens": 5}
    # What a server has of its own stays as it is.
    assert read_settings({"reasoning": {"max_tokens": 9}}).others == {"reasoning": {"max_tokens": 9}}


@pytest.mark.parametrize(
    ("model", "pointer"),
    [
        ({"max_output_tokens": 9, "max_tokens": 9}, "/model/max_tokens"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "low"}, "/model/reasoning_effort"),
        ({"reasoning": {"effort": "a lot"}}, "/model/reasoning/effort"),
        ({"reasoning": "low"}, "/model/reasoning"),
        ({"verbosity": "chatty"}, "/model/verbosity"),
        ({"max_output_tokens": 0}, "/model/max_output_tokens"),
        ({"prompt_cache": "2h"}, "/model/prompt_cache"),
    ],
)
def test_settings_that_say_two_things_or_nothing_are_refused(model: dict[str, Any], pointer: str):
    with pytest.raises(Problem) as refused:
        normalise(content(model=model))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_facts_are_made_anew_from_the_published_table(tmp_path: Path):
    table = {
        "gpt-9": {
            **{"litellm_provider": "openai", "mode": "chat", "max_output_tokens": "many", "max_input_tokens": 10},
            **{"supports_reasoning": True, "supports_none_reasoning_effort": True, "deprecation_date": "soon"},
            **{"supported_endpoints": ["/v1/responses", "/v1/batch"]},
        },
        "gpt-image-9": {"litellm_provider": "openai", "mode": "image_generation"},
        "elsewhere/m": {"litellm_provider": "elsewhere", "mode": "chat"},
        "groq/llama-9": {"litellm_provider": "groq", "mode": "chat", "reasoning_effort_levels": ["high", "low"]},
    }
    source, output = tmp_path / "table.json", tmp_path / "facts.json"
    source.write_text(json.dumps(table))

    call_command("model_facts", str(source), of="9.9", output=output, verbosity=0)

    document = json.loads(output.read_text())
    assert document["about"]["version"] == "9.9"
    assert document["models"]["openai"] == {
        "gpt-9": {
            **{"efforts": ["none", "low", "medium", "high"], "endpoints": ["responses"], "max_input_tokens": 10},
            **{
                "sampling": "without_reasoning",
                "supports_images": False,
                "supports_schema": False,
                "supports_tools": False,
            },
        }
    }
    assert document["models"]["groq"] == {"llama-9": {"efforts": ["low", "high"]}}
