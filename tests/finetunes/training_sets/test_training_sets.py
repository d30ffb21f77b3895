"""Training sets: the content of their files, the same each time, and without test cases."""

import hashlib
import json

import pytest
from django.db import DatabaseError, transaction

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset, ProviderModel
from evaluations.runs import lifecycle as runs
from finetunes.models import TrainingSet
from finetunes.providers.jsonl import Method
from finetunes.training_sets import builder, short_prompt
from finetunes.training_sets import lifecycle as training_sets
from registry.content.normalize import normalise
from registry.models import PromptVersion
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import LABELS, case, make_run, routing
from tests.evaluations.runs.test_pages import finish
from tests.image_files import as_data, png


def lines(training_set: TrainingSet, file: str = "train") -> list[dict]:
    return [json.loads(line) for line in b"".join(training_sets.file_pieces(training_set, file)).splitlines()]


def test_a_set_has_the_short_prompt_the_question_and_the_answer(training_set: TrainingSet, tickets: Dataset):
    train, validation = lines(training_set), lines(training_set, "validation")

    assert tickets.head
    assert (len(train), len(validation)) == (tickets.head.sizes["train"], tickets.head.sizes["validation"])
    assert (training_set.train, training_set.validation) == (len(train), len(validation))
    assert [message["role"] for message in train[0]["messages"]] == ["system", "user", "assistant"]
    assert train[0]["messages"][0]["content"] == "Sort the ticket."
    assert json.loads(train[0]["messages"][2]["content"]).keys() == {"category"}
    assert training_set.prompt.prompt.name == "support.route.minimal"
    assert training_set.errors == 0
    assert training_set.report["has_general"]


def test_the_same_recipe_is_the_same_set_and_other_words_make_another(
    stage: Stage, training_set: TrainingSet, tickets: Dataset, version: PromptVersion
):
    assert tickets.head
    recipe = {"dataset_version": tickets.head, "source": version}

    again = training_sets.create(stage.edith, **recipe, instruction="Sort the ticket.")
    other = training_sets.create(stage.edith, **recipe, instruction="Sort.")
    training_sets.build(other)
    other.refresh_from_db()

    assert again.pk == training_set.pk
    assert other.content_hash != training_set.content_hash


def test_building_it_again_gives_the_same_bytes(stage: Stage, training_set: TrainingSet):
    again = builder.build_files(training_set)

    assert again.content_hash == training_set.content_hash
    assert again.files["train"] == b"".join(training_sets.file_pieces(training_set, "train"))
    digests = "".join(f"{name} {hashlib.sha256(again.files[name]).hexdigest()}\n" for name in ("train", "validation"))
    assert training_set.content_hash == f"sha256:{hashlib.sha256(digests.encode()).hexdigest()}"


def test_what_is_built_never_changes(training_set: TrainingSet):
    for change in ({"content_hash": "x"}, {"report": {}}, {"recipe_hash": "y"}):
        with pytest.raises(DatabaseError, match=r"insert-only|never change"), transaction.atomic():
            TrainingSet.objects.filter(pk=training_set.pk).update(**change)
    with pytest.raises(DatabaseError, match="insert-only"), transaction.atomic():
        training_set.files.update(number=9)


def test_a_question_of_the_test_split_is_found_in_the_training_data(stage: Stage, version: PromptVersion):
    dataset = datasets.create(stage.edith, name="leaky")
    added = [case(f"Ticket {number}", "billing", split="train") for number in range(12)]
    # Another case, and the same question to a model.
    datasets.change(stage.edith, dataset, added=[*added, case("TICKET   5", "billing", split="test", group="z")])
    head = datasets.get_dataset(stage.project, "leaky").head
    assert head

    training_set = training_sets.create(stage.edith, dataset_version=head, source=version, instruction="")
    training_sets.build(training_set)
    training_set.refresh_from_db()

    assert [rule["rule"] for rule in training_set.report["rules"]] == ["test_leak"]
    assert training_set.errors == 1


def test_uploaded_images_are_data_in_the_files_and_known_again_in_the_test_split(stage: Stage):
    image = {"type": "image_url", "image_url": {"url": "{{ shot }}"}}
    content = routing(messages=[{"role": "user", "content": [{"type": "text", "text": "Sort it."}, image]}])
    source = versions.commit(stage.edith, stage.prompt("support.look"), content=content, message="").version
    dataset = datasets.create(stage.edith, name="shots")
    shots = [
        {"variables": {"shot": as_data(png(5, 5, shade))}, "expected": {"category": "billing"}, "split": "train"}
        for shade in range(12)
    ]
    # The same picture in another case: its question is the same.
    leaked = {**shots[5], "split": "test", "group": "z"}
    datasets.change(stage.edith, dataset, added=[*shots, leaked])
    head = datasets.get_dataset(stage.project, "shots").head
    assert head

    training_set = training_sets.create(stage.edith, dataset_version=head, source=source, instruction="")
    training_sets.build(training_set)
    training_set.refresh_from_db()

    addresses = [
        part["image_url"]["url"] for line in lines(training_set) for part in line["messages"][-2]["content"][1:]
    ]
    assert sorted(addresses) == sorted(as_data(png(5, 5, shade)) for shade in range(12))
    assert [rule["rule"] for rule in training_set.report["rules"]] == ["test_leak"]
    assert training_set.errors == 1


def test_a_set_of_images_has_a_bound(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(builder, "MAX_IMAGE_SIZE", 500)
    image = {"type": "image_url", "image_url": {"url": "{{ shot }}"}}
    content = routing(messages=[{"role": "user", "content": [image]}])
    source = versions.commit(stage.edith, stage.prompt("support.look"), content=content, message="").version
    dataset = datasets.create(stage.edith, name="shots")
    shots = [
        {"variables": {"shot": as_data(png(5, 5, shade))}, "expected": "a", "split": "train"} for shade in range(12)
    ]
    datasets.change(stage.edith, dataset, added=shots)
    head = datasets.get_dataset(stage.project, "shots").head
    assert head

    training_set = training_sets.create(stage.edith, dataset_version=head, source=source, instruction="")
    training_sets.build(training_set)
    training_set.refresh_from_db()

    assert "choose fewer cases" in training_set.error


def test_nothing_to_learn_fails_with_the_reason(stage: Stage, version: PromptVersion):
    dataset = datasets.create(stage.edith, name="unanswered")
    datasets.change(stage.edith, dataset, added=[case(f"Ticket {number}", split="train") for number in range(12)])
    head = datasets.get_dataset(stage.project, "unanswered").head
    assert head
    training_set = training_sets.create(stage.edith, dataset_version=head, source=version, instruction="")

    training_sets.build(training_set)

    training_set.refresh_from_db()
    assert (training_set.state, training_set.error[:7]) == ("failed", "Nothing")
    with pytest.raises(Problem, match="not built"):
        next(training_sets.file_pieces(training_set, "train"))


@pytest.mark.usefixtures("sandbox")
def test_preference_pairs_come_from_a_comparison_and_from_answers_annotated_as_wrong(
    stage: Stage, version: PromptVersion, tickets: Dataset, base: ProviderModel
):
    messages = routing()["messages"]
    worse = versions.commit(stage.edith, version.prompt, content=routing(messages=[messages[0], messages[-1]])).version
    first, second = (
        make_run(stage, prompt_version, tickets, base, split="train") for prompt_version in (worse, version)
    )
    for run in (first, second):
        finish(run.pk)
    compared = comparisons.create(stage.edith, [runs.get_run(stage.project, run.pk) for run in (first, second)])
    tasks.compare_runs(compared.pk)
    wrong = runs.get_run(stage.project, first.pk).results.filter(passed=False).order_by("id")[:11]
    for result in wrong:
        runs.annotate_result(stage.edith, result, is_correct=False)
    assert tickets.head

    for pairs in ({"comparison": compared.pk}, {"run": first.pk}):
        training_set = training_sets.create(
            stage.edith,
            dataset_version=tickets.head,
            source=version,
            instruction="Sort the ticket.",
            method=Method.PREFERENCE,
            pairs=pairs,
        )
        training_sets.build(training_set)
        training_set = training_sets.get_training_set(stage.project, training_set.pk)
        assert training_set.state == "done", training_set.error
        assert training_set.errors == 0, training_set.report
        line = lines(training_set)[0]
        assert line.keys() == {"input", "preferred_output", "non_preferred_output"}
        assert line["preferred_output"] != line["non_preferred_output"]
    before = TrainingSet.objects.count()
    runs.annotate_result(stage.edith, wrong[0], is_correct=True)
    _, is_new = training_sets.ensure(
        stage.edith,
        dataset_version=tickets.head,
        source=version,
        instruction="Sort the ticket.",
        method=Method.PREFERENCE,
        pairs={"run": first.pk},
    )
    # Other annotations, another set.
    assert (is_new, TrainingSet.objects.count()) == (True, before + 1)
    with pytest.raises(Problem, match="where pairs come from"):
        training_sets.create(
            stage.edith, dataset_version=tickets.head, source=version, instruction="", method=Method.PREFERENCE
        )


def test_a_short_prompt_keeps_the_question_and_the_form_and_drops_examples_and_rules():
    long = normalise(
        routing(
            response={"format": "json_schema", "schema": {"type": "object"}},
            variables={"ticket": {}, "product": {"default": "x"}},
        )
    )

    short = short_prompt.make_short_prompt(long, short_prompt.suggest_instruction(long))

    assert [(message["role"], message["content"]) for message in short["messages"]] == [
        ("system", "Sort the ticket."),
        ("user", "{{ ticket }}"),
    ]
    assert short["response"] == long["response"]
    assert set(short["variables"]) == {"ticket"}
    text = normalise({"kind": "text", "text": "Say {{ x }}", "variables": {"x": {}}})
    assert short_prompt.make_short_prompt(text, "")["messages"] == [{"role": "user", "content": "{{ x }}"}]


def test_earlier_turns_that_a_service_puts_in_are_asked_as_well():
    history = {"role": "placeholder", "name": "history"}
    messages = routing()["messages"]
    long = normalise(routing(messages=[*messages[:-1], history, messages[-1]]))

    assert [message["role"] for message in short_prompt.make_short_prompt(long, "Sort it.")["messages"]] == [
        "system",
        "placeholder",
        "user",
    ]


def test_preference_pairs_come_from_what_a_round_settled_on(stage: Stage, version: PromptVersion, tickets: Dataset):
    round_ = annotation.open_round(
        stage.edith, tickets, title="Twice", annotators=2, labels=LABELS, split="train", most=12
    )
    items = list(round_.items.select_related("case").order_by("id"))
    for place, item in enumerate(items):
        annotation.annotate(stage.edith, round_, item.pk, expected=item.case.expected)
        answer = item.case.expected if place == 11 else {"category": "something else"}
        annotation.annotate(stage.rhea, round_, item.pk, expected=answer)
    for item in annotation.disputed_items(round_):
        annotation.decide(stage.edith, round_, item.pk, expected=item.case.expected)
    recipe = {"source": version, "instruction": "Sort the ticket.", "method": Method.PREFERENCE}
    assert tickets.head
    with pytest.raises(Problem, match="apply it first"):
        training_sets.create(stage.edith, dataset_version=tickets.head, pairs={"round": round_.pk}, **recipe)
    annotation.apply(stage.edith, round_)

    training_set = training_sets.create(stage.edith, dataset_version=tickets.head, pairs={"round": round_.pk}, **recipe)
    training_sets.build(training_set)

    training_set = training_sets.get_training_set(stage.project, training_set.pk)
    assert (training_set.state, training_set.errors, training_set.train) == ("done", 0, 11), (
        training_set.error,
        training_set.report,
    )
    worse = {line["non_preferred_output"][0]["content"] for line in lines(training_set)}
    assert worse == {'{"category":"something else"}'}
