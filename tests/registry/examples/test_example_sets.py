"""Example sets: commits, rules, and which examples a prompt picks."""

import threading
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone
from pgvector import Vector

from core.errors import Problem
from core.examples import Shot
from registry.accounts.permissions import Actor
from registry.examples import embedders, example_sets, minilm, tfidf, vector_search
from registry.models import (
    AuditEntry,
    Embedding,
    EmbeddingState,
    Example,
    ExampleSet,
    ExampleSetVersion,
    ExampleVector,
)
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from tests.conftest import Stage

TICKETS = [
    ("My card was charged twice", "billing"),
    ("The server answers with a timeout", "incident"),
    ("Where do I set the time zone?", "how-to"),
    ("Please refund the second payment", "billing"),
    ("All dashboards are empty since noon", "incident"),
]


def shots_of(rows: Any = TICKETS) -> list[dict[str, Any]]:
    return [{"input": text, "output": label, "tags": [label]} for text, label in rows]


def make_set(stage: Stage, rows: Any = TICKETS, name: str = "support.tickets") -> ExampleSetVersion:
    example_set = example_sets.create(stage.edith, name=name)
    return example_sets.commit(stage.edith, example_set, examples=shots_of(rows), message="First").version


def embed(version: ExampleSetVersion) -> None:
    for work in Embedding.objects.filter(version=version):
        vector_search.embed_missing(work)


def picking(version: ExampleSetVersion, **selection: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "Sort"},
            {"role": "placeholder", "name": "examples"},
            {"role": "user", "content": "{{ ticket }}"},
        ],
        "examples": {"set": version.content_hash, **selection},
    }


def commit(stage: Stage, content: dict[str, Any], name: str = "support.route") -> Any:
    return versions.commit(stage.edith, prompts.create(stage.edith, name=name), content=content).version


def test_a_commit_keeps_examples_once_and_in_order(stage: Stage):
    first = make_set(stage)
    example_set = example_sets.get_example_set(stage.project, "support.tickets")

    second = example_sets.commit(stage.edith, example_set, examples=shots_of(TICKETS[::-1])).version

    assert (first.number, second.number, first.size) == (1, 2, 5)
    assert Example.objects.count() == 5
    assert [shot.input for shot in example_sets.version_shots(second)] == [text for text, _ in TICKETS[::-1]]
    assert AuditEntry.objects.filter(action="example_set.committed").count() == 2


def test_going_back_to_earlier_examples_is_a_step_forward(stage: Stage):
    first = make_set(stage)
    more = example_sets.revise(
        stage.edith, first.example_set, changed={}, added=[{"input": "bad", "output": "x"}]
    ).version
    bad = example_sets.version_places(more).last()
    assert bad

    back = example_sets.revise(stage.edith, first.example_set, changed={}, removed=[bad.example_id])

    assert (back.created, back.version.number, back.version.content_hash) == (True, 3, first.content_hash)
    assert example_sets.get_pinned_version(stage.project.pk, first.content_hash) == first


def test_the_same_examples_are_the_same_version(stage: Stage):
    first = make_set(stage)

    again = example_sets.commit(stage.edith, first.example_set, examples=shots_of())

    assert (again.version.pk, again.created) == (first.pk, False)
    assert example_sets.get_pinned_version(stage.project.pk, first.content_hash) == first
    assert example_sets.get_version(stage.project, "support.tickets", first.content_hash[:20]) == first


def test_another_users_commit_is_not_overwritten(stage: Stage):
    first = make_set(stage)
    place = example_sets.version_places(first).first()
    assert place

    theirs = example_sets.revise(stage.rhea, first.example_set, changed={}, added=[{"input": "new", "output": "x"}])
    mine = example_sets.revise(
        stage.edith, first.example_set, changed={place.example_id: {"input": "a", "output": "b"}}
    )

    assert theirs.version.size == mine.version.size == 6
    assert [shot.input for shot in example_sets.version_shots(mine.version)][::5] == ["a", "new"]
    with pytest.raises(Problem) as refused:
        example_sets.revise(stage.edith, first.example_set, changed={}, removed=[place.example_id])
    assert refused.value.code == "examples.changed_elsewhere"
    with pytest.raises(Problem) as refused:
        example_sets.commit(stage.edith, first.example_set, examples=shots_of(), expected_latest=first.content_hash)
    assert refused.value.code == "request.precondition"


def test_two_commits_at_once_become_two_versions(live_stage: Stage):
    example_set = example_sets.create(live_stage.edith, name="race")
    barrier = threading.Barrier(2)

    def run(number: int) -> None:
        barrier.wait()
        example_sets.commit(live_stage.edith, example_set, examples=[{"input": f"{number}", "output": "x"}])
        connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(example_set.versions.values_list("number", flat=True)) == [1, 2]
    example_set.refresh_from_db()
    assert example_set.head
    assert example_set.head.number == 2


def test_a_set_in_use_is_not_archived(stage: Stage):
    version = make_set(stage)
    prompt = commit(stage, picking(version)).prompt

    with pytest.raises(Problem, match=r"support\.route") as refused:
        example_sets.archive(stage.edith, version.example_set)
    assert refused.value.code == "example_set.in_use"

    versions.commit(stage.edith, prompt, content={"messages": [{"role": "user", "content": "x"}]})
    archived = example_sets.archive(stage.edith, version.example_set)
    assert archived.archived_at
    with pytest.raises(Problem) as refused:
        commit(stage, picking(version), name="other")
    assert refused.value.code == "example_set.archived"
    with pytest.raises(Problem) as refused:
        example_sets.commit(stage.edith, archived, examples=[{"input": "a", "output": "b"}])
    assert refused.value.code == "example_set.archived"
    assert example_sets.restore(stage.edith, archived).archived_at is None


@pytest.mark.parametrize("name", ["versions", "Upper", "a b", ""])
def test_names_are_words(stage: Stage, name: str):
    with pytest.raises(Problem) as refused:
        example_sets.create(stage.edith, name=name)
    assert refused.value.code == "example_set.invalid_name"


def test_a_viewer_changes_nothing(stage: Stage):
    version = make_set(stage)

    for act in (
        lambda: example_sets.create(stage.vera, name="x"),
        lambda: example_sets.commit(stage.vera, version.example_set, examples=[]),
        lambda: example_sets.archive(stage.vera, version.example_set),
        lambda: example_sets.describe(stage.vera, version.example_set, description="x"),
    ):
        with pytest.raises(Problem) as refused:
            act()
        assert refused.value.code == "access.denied"


# --- Picking ---------------------------------------------------------------------------------------------------------


def test_fixed_and_first_are_the_same_for_every_request(stage: Stage):
    version = make_set(stage)
    fixed = commit(stage, picking(version), name="fixed")
    first = commit(stage, picking(version, select="first", k=2), name="first")

    request = versions.render(fixed, {"ticket": "x"})
    assert [message["content"] for message in request["messages"][1:3]] == ["My card was charged twice", "billing"]
    assert len(request["messages"]) == 2 + 2 * 5
    assert request["examples"]["chosen"][0]["why"] == "place 1 of the set"
    assert len(versions.render(first, {"ticket": "x"})["messages"]) == 2 + 2 * 2
    assert fixed.tokens > first.tokens > 1


def test_similar_picks_by_meaning_and_says_so(stage: Stage):
    version = make_set(stage)
    embed(version)
    prompt = commit(stage, picking(version, select="similar", k=2, query="{{ ticket }}"))

    request = versions.render(prompt, {"ticket": "You took my money two times"})

    examples = request["examples"]
    assert prompt.content["examples"]["embedder"] == embedders.default_embedder() == "minilm-l6-v2@1"
    assert {pick["label"] for pick in examples["chosen"]} == {"billing"}
    assert examples["query"] == "You took my money two times"
    assert examples["chosen"][0]["score"] > examples["chosen"][1]["score"]
    assert request["messages"][1]["content"] == examples["chosen"][0]["input"]


def test_without_a_query_examples_are_like_what_the_user_says_last(stage: Stage):
    version = make_set(stage)
    prompt = commit(stage, picking(version, select="similar", k=1))

    assert versions.render(prompt, {"ticket": "time zone"})["examples"]["query"] == "time zone"


def test_the_embedder_is_part_of_the_hash(stage: Stage):
    version = make_set(stage)
    by_meaning = commit(stage, picking(version, select="similar", k=1), name="a")
    by_wording = commit(stage, picking(version, select="similar", k=1, embedder=tfidf.NAME), name="b")

    assert by_meaning.content_hash != by_wording.content_hash
    examples = versions.render(by_wording, {"ticket": "timeout of the servers"})["examples"]
    assert examples["chosen"][0]["label"] == "incident"
    with pytest.raises(Problem) as refused:
        commit(stage, picking(version, select="similar", embedder="word2vec@7"), name="c")
    assert refused.value.code == "embedder.unknown"


def test_balanced_shows_each_label(stage: Stage):
    version = make_set(stage)
    prompt = commit(stage, picking(version, select="balanced", k=3, per_label=1))

    examples = versions.render(prompt, {"ticket": "charged twice, refund please"})["examples"]

    assert sorted(pick["label"] for pick in examples["chosen"]) == ["billing", "how-to", "incident"]
    assert "has its 1 already" in examples["passed_over"][0]["why"]


def test_a_text_prompt_goes_through_its_examples_itself(stage: Stage):
    version = make_set(stage)
    text = "{% for example in examples %}{{ example.input }} -> {{ example.output }}\n{% endfor %}{{ ticket }}"
    picks = {"set": version.content_hash, "select": "first", "k": 1}

    prompt = commit(stage, {"kind": "text", "text": text, "examples": picks})

    assert versions.render(prompt, {"ticket": "x"})["text"] == "My card was charged twice -> billing\nx"
    with pytest.raises(Problem, match="for example in examples") as refused:
        commit(stage, {"kind": "text", "text": "{{ ticket }}", "examples": picks}, name="other")
    assert refused.value.faults[0].pointer == "/text"


def test_examples_without_a_place_stand_before_the_question(stage: Stage):
    version = make_set(stage)
    content = picking(version, select="first", k=1)
    del content["messages"][1]

    request = versions.render(commit(stage, content), {"ticket": "x"})

    assert [message["role"] for message in request["messages"]] == ["system", "user", "assistant", "user"]


def test_a_partial_may_go_through_the_examples(stage: Stage):
    version = make_set(stage)
    stage.commit(stage.prompt("shared.shots"), "{% for one in examples %}{{ one.input }}: {{ one.note }}\n{% endfor %}")
    picks = {"set": version.content_hash, "select": "first", "k": 2}
    include = "{% include 'shared.shots@latest' %}"

    text = commit(stage, {"kind": "text", "text": include, "examples": picks}, name="a")
    chat = commit(stage, {"messages": [{"role": "user", "content": include}], "examples": picks}, name="b")

    assert versions.render(text, {})["text"].count("My card was charged twice: \n") == 1
    assert len(versions.render(chat, {})["messages"]) == 1


def test_an_unknown_set_is_refused(stage: Stage, otis: Actor):
    theirs = example_sets.commit(otis, example_sets.create(otis, name="theirs"), examples=shots_of()).version

    with pytest.raises(Problem) as refused:
        commit(stage, picking(theirs))
    assert refused.value.code == "content.unknown_example_set"


# --- Embedding -------------------------------------------------------------------------------------------------------


def test_embedding_goes_on_where_it_stopped(stage: Stage, monkeypatch: Any):
    version = make_set(stage, [(f"ticket {number}", "x") for number in range(150)])
    work = Embedding.objects.get(version=version)
    plain = vector_search._store
    calls: list[int] = []

    def failing(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Problem("embedder.failed", "It fell over.")
        plain(*arguments)

    monkeypatch.setattr(vector_search, "_store", failing)
    vector_search.embed_missing(work)
    work.refresh_from_db()
    assert (work.state, work.done, work.error) == (EmbeddingState.FAILED, 64, "It fell over.")
    with pytest.raises(Problem, match="fell over"):
        vector_search.nearest(version, work.embedder, "x", 1)

    vector_search.retry(work)
    vector_search.embed_missing(work)
    work.refresh_from_db()
    assert (work.state, work.done) == (EmbeddingState.DONE, 150)


def test_one_worker_embeds_and_a_dead_ones_work_is_taken_over(stage: Stage):
    work = Embedding.objects.get(version=make_set(stage))
    Embedding.objects.update(state=EmbeddingState.RUNNING, heartbeat_at=timezone.now())

    vector_search.embed_missing(work)
    assert not ExampleVector.objects.exists()

    Embedding.objects.update(heartbeat_at=timezone.now() - 2 * Embedding.LEASE_TIMEOUT)
    assert list(vector_search.claimable_embeddings()) == [work]
    vector_search.embed_missing(work)
    assert ExampleVector.objects.count() == 5


def test_a_few_are_embedded_on_the_spot_and_many_are_waited_for(stage: Stage):
    few = make_set(stage)
    many = make_set(stage, [(f"ticket {number}", "x") for number in range(40)], name="many")

    assert vector_search.nearest(few, embedders.default_embedder(), "refund", 1)[0].shot.output == "billing"
    with pytest.raises(Problem) as refused:
        vector_search.nearest(many, embedders.default_embedder(), "refund", 1)
    assert (refused.value.code, refused.value.members["waiting"]) == ("examples.not_embedded", 40)


def random_vectors(version: ExampleSetVersion, seed: int = 5) -> np.ndarray[Any, Any]:
    """Unit vectors in place of embeddings: a stand-in for hours of computing, and easy to search by hand."""
    rows = np.random.default_rng(seed).normal(size=(version.size, minilm.MiniLM.dimensions)).astype(np.float32)
    vectors = minilm.to_unit_length(rows)
    stored = [place.example for place in example_sets.version_places(version)]
    for start in range(0, version.size, 2_000):
        vector_search._store(stored[start : start + 2_000], minilm.MiniLM.name, vectors[start : start + 2_000])
    Embedding.objects.filter(version=version).update(state=EmbeddingState.DONE)
    return vectors


def test_the_nearest_are_those_that_looking_at_all_finds(stage: Stage):
    version = make_set(stage, [(f"ticket {number}", "x") for number in range(300)])
    rows = random_vectors(version)
    query = rows[7] + 0.4 * rows[11]

    nearest = vector_search._by_vector(version, minilm.MiniLM.name, Vector(query).to_text(), 384, 10)

    expected = np.argsort(-(rows @ query) / np.linalg.norm(query))[:10] + 1
    assert [candidate.position for candidate in nearest] == expected.tolist()


@pytest.mark.slow
def test_a_large_set_is_searched_by_its_own_index(live_stage: Stage, monkeypatch: Any):
    monkeypatch.setattr(vector_search, "EXACT_UP_TO", 1_000)
    shots = [Shot(f"ticket {number}", "x") for number in range(1_500)]
    example_set = example_sets.create(live_stage.edith, name="large")
    version = example_sets.commit(live_stage.edith, example_set, examples=shots).version
    rows = random_vectors(version)
    vector_search._index(version, minilm.MiniLM.name)
    newer = example_sets.commit(live_stage.edith, example_set, examples=shots[750:]).version
    monkeypatch.setattr(vector_search, "EXACT_UP_TO", 500)

    results = [
        vector_search._by_vector(newer, minilm.MiniLM.name, Vector(rows[index]).to_text(), 384, 5)
        for index in range(750, 800)
    ]

    # What only the older version has never comes, and the vector itself is found nearly always.
    assert all(len(nearest) == 5 and all(candidate.position <= 750 for candidate in nearest) for nearest in results)
    hits = sum(nearest[0].shot.input == f"ticket {index}" for index, nearest in enumerate(results, start=750))
    assert hits >= 48
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'example_vectors\\_%%' AND indexdef LIKE '%%hnsw%%'"
        )
        assert f"example_set_id = {example_set.pk}" in cursor.fetchone()[0]


def test_lists_of_sets_are_told_by_their_heads(stage: Stage):
    make_set(stage)

    assert [
        example_set.head and example_set.head.number for example_set in ExampleSet.objects.select_related("head")
    ] == [1]
