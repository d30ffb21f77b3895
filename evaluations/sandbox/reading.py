"""How the engine without a model answers from documents: with the sentence that is nearest to the question."""

import re

from core.retrieval import FOOT, HEAD
from registry.examples.tfidf import Lexicon

DOCUMENT = re.compile(r'<document source="(?P<source>[^"]*)" title="[^"]*">\n(?P<text>.*?)\n</document>', re.DOTALL)
SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
# A heading answers nothing.
MIN_WORDS = 3
NO_ANSWER = "The documents do not say."


def read_documents(question: str) -> str | None:
    """Return the answer to a question that comes with documents (core.retrieval); None where it comes without."""
    before, frame, after = question.partition(FOOT)
    if not frame:
        return None
    sentences = [
        (sentence.strip(" #*-|"), match["source"])
        for match in DOCUMENT.finditer(before)
        for sentence in SENTENCE.findall(match["text"])
        if len(sentence.split()) >= MIN_WORDS
    ]
    if not sentences:
        return NO_ANSWER
    scores = Lexicon([sentence for sentence, _ in sentences]).scores(before.partition(HEAD)[0] + after)
    if not scores.any():
        return NO_ANSWER
    sentence, source = sentences[int(scores.argmax())]
    return f"{sentence} ({source})"
