"""Searching a collection: both halves, their ranks, and what fits."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from core.errors import Problem
from registry.examples import text_vectors, tfidf
from registry.models import Chunk, Collection, CollectionEmbedding
from registry.retrieval import collections, documents, indexing
from registry.retrieval.search import SearchSettings, search
from tests.conftest import Stage
from tests.registry.retrieval.conftest import embed, make_handbook


def sources(collection: Collection, query: str, **settings: Any) -> list[str]:
    return [hit.chunk.revision.document.path for hit in search(collection, query, SearchSettings(**settings))]


def test_meaning_finds_what_no_word_has(handbook: Collection):
    (hit,) = search(handbook, "I want my cash returned", SearchSettings(k=1))

    assert hit.chunk.revision.document.path == "refunds.md"
    assert hit.meaning_rank == 1
    assert hit.words is None


def test_words_find_what_has_them_and_both_add_up(handbook: Collection):
    first, *_ = search(handbook, "export CSV", SearchSettings(k=3))

    assert first.chunk.revision.document.path == "data/export.md"
    assert (first.meaning_rank, first.words_rank) == (1, 1)
    assert first.score == pytest.approx(2 / 61)


def test_without_an_embedder_words_alone_are_compared(stage: Stage):
    collection = make_handbook(stage, embedder=tfidf.NAME)

    (hit,) = search(collection, "Where do I export tickets?", SearchSettings(k=1))
    assert (hit.meaning, hit.words_rank) == (None, 1)
    assert not CollectionEmbedding.objects.exists()


@pytest.mark.parametrize("query", ["", "  ", "the of and", "'", "\\", "a & ! | (", "\0", "x" * 20_000, "🙂"])
def test_any_question_can_be_asked(handbook: Collection, query: str):
    search(handbook, query, SearchSettings())


def test_a_score_a_filter_and_a_budget_leave_out(stage: Stage, handbook: Collection):
    documents.put(
        stage.edith, handbook, "de/refunds.md", b"# Refunds\n\nMoney back in Germany.\n", metadata={"land": "de"}
    )
    embed(handbook)

    assert sources(handbook, "money back", filter={"land": "de"}) == ["de/refunds.md"]
    assert sources(handbook, "money back", filter={"land": "fr"}) == []
    assert sources(handbook, "quantum chromodynamics", min_score=0.9) == []
    tokens = dict(Chunk.objects.values_list("id", "tokens"))
    hits = search(handbook, "money back", SearchSettings(k=5, token_budget=12))
    assert sum(tokens[hit.chunk.pk] for hit in hits) <= 12


def test_neighbours_are_joined_and_said_once(handbook: Collection):
    first, *others = search(handbook, "days of the purchase", SearchSettings(k=4, neighbours=1))

    assert first.text.startswith("You get your money back")
    assert first.text.endswith("Other rules hold in Norway.")
    # What was joined to it is not shown again.
    assert all(hit.chunk.revision_id != first.chunk.revision_id for hit in others)


def test_what_is_not_embedded_yet_is_found_by_its_words_and_a_moment_is_waited_for(stage: Stage, handbook: Collection):
    before = timezone.now()
    documents.put(stage.edith, handbook, "new.md", b"# New\n\nSomething quite unheard of.\n")

    # Live calls go on while workers embed: nobody waits for a model.
    assert sources(handbook, "quite unheard of", k=1, min_score=0.9) == ["new.md"]
    with pytest.raises(Problem) as refused:
        search(handbook, "new", SearchSettings(), timezone.now())
    assert (refused.value.code, refused.value.members["waiting"]) == ("collection.not_embedded", 1)
    # A moment before is over.
    assert search(handbook, "new", SearchSettings(), before)
    embed(handbook)
    assert sources(handbook, "Something quite unheard of", k=1) == ["new.md"]
    row = CollectionEmbedding.objects.get()
    assert (row.state, row.done, row.total) == ("done", 5, 5)


def test_a_moment_waits_for_what_was_said_then_and_is_over_now(stage: Stage, handbook: Collection):
    documents.put(stage.edith, handbook, "new.md", b"# New\n\nSomething new.\n")
    between = timezone.now()
    documents.put(stage.edith, handbook, "new.md", b"# New\n\nSomething else.\n")

    with pytest.raises(Problem) as refused:
        search(handbook, "new", SearchSettings(), between)
    assert refused.value.code == "collection.not_embedded"


def test_a_least_similarity_counts_for_what_words_have_found(stage: Stage, handbook: Collection):
    near = search(handbook, "Norway", SearchSettings(k=1))[0]
    assert near.meaning is not None

    assert sources(handbook, "Norway", k=1, min_score=near.meaning - 0.01) == ["refunds.md"]
    assert "refunds.md" not in sources(handbook, "Norway", k=1, min_score=min(1.0, near.meaning + 0.01))


def test_what_is_first_in_one_half_is_found_whatever_is_middling_in_both(stage: Stage, handbook: Collection):
    for number in range(20):
        text = f"# Office {number}\n\nHow the station of purchase {number} is cleaned, and how often.\n"
        documents.put(stage.edith, handbook, f"offices/{number}.md", text.encode())
    embed(handbook)

    question = "How do I get cash returned from the station of purchase?"
    hits = search(handbook, question, SearchSettings(k=3))

    ranks = {rank for hit in hits for rank in (("meaning", hit.meaning_rank), ("words", hit.words_rank))}
    assert {("meaning", 1), ("words", 1)} <= ranks


def test_a_document_that_comes_while_the_work_ends_is_embedded_too(
    stage: Stage, handbook: Collection, monkeypatch: pytest.MonkeyPatch
):
    documents.put(stage.edith, handbook, "first.md", b"# First\n\nThe first.\n")
    late = iter([b"# Late\n\nIt came late.\n"])

    def put_once(*_: object) -> None:
        for data in late:
            documents.put(stage.edith, handbook, "late.md", data)

    monkeypatch.setattr(indexing, "_index", put_once)
    embed(handbook)

    assert not indexing.missing(handbook).exists()
    # What a backup brought back is found by the sweep.
    Chunk.objects.filter(revision__document__path="late.md").update(vector=None)
    indexing.requeue_incomplete()
    embed(handbook)
    assert not indexing.missing(handbook).exists()


def test_workers_and_editors_do_not_lock_each_other_out(live_stage: Stage):
    collection = collections.create(live_stage.edith, name="race", chunk_tokens=50, overlap_tokens=0)
    ended = threading.Event()

    def work() -> None:
        try:
            while not ended.is_set():
                embed(collection)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(30):
            text = "\n\n".join(f"## {part}\n\nText {number} of part {part}, again." for part in range(60))
            documents.put(live_stage.edith, collection, "long.md", f"# Long\n\n{text}\n".encode())
    finally:
        ended.set()
        worker.join()
    embed(collection)

    assert CollectionEmbedding.objects.get(collection=collection).state == "done"
    assert not indexing.missing(collection).exists()


def test_an_archived_collection_is_searched_no_more(stage: Stage, handbook: Collection):
    collections.archive(stage.edith, handbook)
    handbook.refresh_from_db()

    with pytest.raises(Problem) as refused:
        search(handbook, "new", SearchSettings())
    assert refused.value.code == "collection.archived"
    collections.restore(stage.edith, handbook)


def index_of(handbook: Collection) -> str:
    """Return the definition of its own index."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [f"chunk_vectors_{handbook.pk}"])
        (definition,) = cursor.fetchone()
    return str(definition)


@pytest.fixture
def large_handbook(stage: Stage, handbook: Collection, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """The handbook, so large that it has an index of its own."""
    monkeypatch.setattr(indexing, "EXACT_UP_TO", 3)
    documents.put(stage.edith, handbook, "new.md", b"# New\n\nSomething new.\n")
    with connection.cursor() as cursor:
        # As if each step were a transaction of its own.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    embed(handbook)
    return handbook


def test_a_large_collection_has_an_index_of_its_own(large_handbook: Collection):

    assert "hnsw" in index_of(large_handbook)
    assert sources(large_handbook, "Something new", k=1) == ["new.md"]


def test_other_collections_and_projects_are_not_searched(stage: Stage, handbook: Collection):
    other = collections.create(stage.edith, name="other")
    documents.put(stage.edith, other, "secret.md", b"# Money\n\nMoney back, money back.\n")
    embed(other)

    assert "secret.md" not in sources(handbook, "money back", k=10)


def test_where_the_index_gives_up_all_are_looked_at(large_handbook: Collection, monkeypatch: pytest.MonkeyPatch):
    # As in a collection that was rewritten often: what is near is over.
    gives_up = (
        "SELECT set_config('hnsw.iterative_scan', 'off', true), set_config('hnsw.ef_search', '1', true),"
        " set_config('enable_seqscan', 'off', true), set_config('work_mem', %s || 'MB', true)"
    )
    monkeypatch.setattr("registry.retrieval.search.INDEX_SETTINGS", gives_up)

    assert len(search(large_handbook, "What is new?", SearchSettings(k=10))) == Chunk.objects.count() == 5
    with connection.cursor() as cursor:
        # Nothing of it is left in the transaction that the search was in.
        cursor.execute("SELECT current_setting('enable_indexscan'), current_setting('enable_seqscan')")
        assert cursor.fetchone() == ("on", "on")


def test_what_an_interrupted_build_left_is_built_anew(
    stage: Stage, handbook: Collection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(indexing, "EXACT_UP_TO", 3)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"CREATE INDEX chunk_vectors_{handbook.pk} ON registry_chunk (id)")
        cursor.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)",
            [f"chunk_vectors_{handbook.pk}"],
        )
    documents.put(stage.edith, handbook, "new.md", b"# New\n\nSomething new.\n")
    embed(handbook)

    assert "hnsw" in index_of(handbook)


def test_embedding_that_failed_is_tried_again_after_a_while(
    stage: Stage, handbook: Collection, monkeypatch: pytest.MonkeyPatch
):
    documents.put(stage.edith, handbook, "new.md", b"# New\n\nSomething new.\n")

    def fail(*_: object) -> None:
        raise Problem("embedder.failed", "429 Too Many Requests")

    with monkeypatch.context() as broken:
        broken.setattr(text_vectors, "embed", fail)
        embed(handbook)
    row = CollectionEmbedding.objects.get()
    assert (row.state, row.error) == ("failed", "429 Too Many Requests")
    indexing.requeue_incomplete()
    assert CollectionEmbedding.objects.get().state == "failed"
    CollectionEmbedding.objects.update(finished_at=timezone.now() - indexing.RETRY_INTERVAL)
    indexing.requeue_incomplete()
    embed(handbook)

    assert CollectionEmbedding.objects.get().state == "done"
    assert not indexing.missing(handbook).exists()


def test_a_worker_gives_a_large_collection_back_after_its_turn(
    stage: Stage, handbook: Collection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(indexing, "BATCH", 1)
    documents.put(stage.edith, handbook, "new.md", b"# New\n\nNew.\n\n## One\n\nText.\n\n## Two\n\nText.\n")

    turns = 0
    while indexing.embed_missing(CollectionEmbedding.objects.get(), turn_seconds=0):
        turns += 1

    assert turns == 2
    row = CollectionEmbedding.objects.get()
    assert (row.state, row.done, row.total) == ("done", 7, 7)


def test_the_future_is_not_searched(handbook: Collection):
    with pytest.raises(Problem) as refused:
        search(handbook, "new", SearchSettings(), timezone.now() + timedelta(days=1))
    assert refused.value.faults[0].pointer == "/as_of"
