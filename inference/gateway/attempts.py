"""One time that a model is asked for a call: in the time that is left, and counted whatever becomes of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from evaluations.providers.base import ChatClient
from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy
from inference.gateway.calls_in_progress import CallInProgress
from inference.gateway.tracing import AskSpan
from inference.gateway.upstream.resilience import Ask


@dataclass
class Attempt:
    """A model that is asked. Its answer is among what the call has paid for as soon as it is there."""

    call: CallInProgress
    chat: ChatClient
    ask: Ask
    span: AskSpan
    is_answered: bool = False

    async def complete(self, chat_request: ChatRequest, key: str) -> Completion:
        """Return the answer, in the time that the route has left."""
        self.span.requested(chat_request)
        async with _in_time(self.call):
            answer = await self.chat.complete(chat_request, key=key, headers=self.span.headers)
        self._pay(answer)
        return answer

    async def stream(self, chat_request: ChatRequest) -> AsyncGenerator[str | Completion]:
        """Yield the pieces of an answer, the first of which has to come in time: what was sent cannot be taken back."""
        self.span.requested(chat_request)
        pieces = self.chat.stream(chat_request, headers=self.span.headers)
        async with _in_time(self.call):
            piece = await anext(pieces, None)
        if piece is None:
            raise CallError("call.unreadable", "The stream ended before it began.", Remedy.RETRY)
        while piece is not None:
            self.ask.succeeded()
            if isinstance(piece, Completion):
                self._pay(piece)
            yield piece
            piece = await anext(pieces, None)

    def _pay(self, answer: Completion) -> None:
        self.is_answered = True
        self.call.pay(answer)
        self.span.answered(answer)

    def gave_up(self, error: BaseException) -> None:
        """Count what was asked for and not waited for, or not got to the end: its provider charges for it, and tells
        nobody. Of one that refused, or was not reached, it does not."""
        is_refusal = isinstance(error, CallError) and error.code != "call.timeout" and not self.call.sent
        if not self.is_answered and not is_refusal:
            self.call.pay_unfinished()


@asynccontextmanager
async def _in_time(call: CallInProgress) -> AsyncIterator[None]:
    """Raise a CallError where the route takes longer than the config gives it."""
    try:
        async with asyncio.timeout(call.seconds_left):
            yield
    except TimeoutError:
        sentence = f"The config waits {call.plan.timeout_seconds:g} seconds for an answer."
        raise CallError("call.timeout", sentence, Remedy.RETRY) from None
