"""The network: llama's forward pass, and the gradients of its adapters.

Texts of a batch lie behind each other in one array [tokens, width]; attention runs within each text's span. Only the
tokens of answers have a loss, so the large output matrix is applied to those alone. Weights are in GGUF's order, in
which the two numbers that a rotary embedding turns lie beside each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluations.local.trainer.adapter import AdapterShape, Key, Parameters
from evaluations.local.trainer.weights import Floats, Model

Span = tuple[int, int]
Gradients = dict[Key, Floats]
# Of one text.
MAX_TOKENS = 8_192
# Added where a token must not look: what is left of its weight is zero in single precision.
MASKED = np.float32(-1e9)


@dataclass(frozen=True)
class Text:
    """An example in tokens; those from `answer_start` on are to be learned."""

    tokens: tuple[int, ...]
    answer_start: int

    @property
    def answer_tokens(self) -> int:
        return len(self.tokens) - self.answer_start


@dataclass(frozen=True)
class Loss:
    """The mean loss of a batch's answer tokens (in nats), and the share of them that the model would have written."""

    mean: float
    accuracy: float
    tokens: int


@dataclass
class _Memo:
    """What the forward pass of a layer leaves for the backward one: the inputs of adapters, and its own values."""

    adapted: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    values: tuple[Any, ...] = ()


class Network:
    """A model with an adapter. Texts are run through the layers below the adapter's first once, and remembered."""

    def __init__(self, model: Model, shape: AdapterShape, parameters: Parameters) -> None:
        self._model = model
        self._shape = shape
        self.parameters = parameters
        self._layers = range(shape.first_layer, model.shape.layers)
        self._below: dict[Text, Floats] = {}
        width = model.shape.head_width
        frequencies = 1 / model.shape.rope_base ** (np.arange(0, width, 2) / width)
        # What a file says of its context may be any number.
        angles = np.arange(min(model.shape.max_tokens, MAX_TOKENS))[:, None] * frequencies
        self._cos, self._sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def loss(self, texts: Sequence[Text]) -> Loss:
        """Return the loss of texts without learning from them."""
        return self._run(texts, None)

    def loss_and_gradients(self, texts: Sequence[Text]) -> tuple[Loss, Gradients]:
        """Return the loss of texts, and the gradient of every matrix of the adapter."""
        gradients: Gradients = {}
        return self._run(texts, gradients), gradients

    def _run(self, texts: Sequence[Text], gradients: Gradients | None) -> Loss:
        spans, positions = _layout(texts)
        x = np.concatenate([self._through_lower_layers(text) for text in texts])
        memos = []
        for layer in self._layers:
            memo = _Memo()
            x = self._forward(x, layer, spans, positions, memo)
            if gradients is not None:
                memos.append(memo)

        # The token before an answer's token is the one that has to foretell it.
        rows = np.concatenate(
            [np.arange(start + text.answer_start - 1, end - 1) for (start, end), text in zip(spans, texts, strict=True)]
        )
        targets = np.concatenate([np.array(text.tokens[text.answer_start :]) for text in texts])
        count = len(targets)
        normed, factor = _norm(x[rows], self._model.output_norm, self._model.shape.epsilon)
        logits = normed @ self._model.output.T
        logits -= logits.max(-1, keepdims=True)
        accuracy = float((logits.argmax(-1) == targets).mean())
        sums = np.log(np.exp(logits).sum(-1))
        loss = Loss(float((sums - logits[np.arange(count), targets]).mean()), accuracy, count)
        if gradients is None:
            return loss

        probabilities = np.exp(logits - sums[:, None])
        probabilities[np.arange(count), targets] -= 1
        dx = np.zeros_like(x)
        back = (probabilities @ self._model.output) / np.float32(count)
        dx[rows] = _norm_back(back, x[rows], self._model.output_norm, factor)
        for layer, memo in zip(reversed(self._layers), reversed(memos), strict=True):
            dx = self._backward(dx, layer, spans, positions, memo, gradients)
        return loss

    def _through_lower_layers(self, text: Text) -> Floats:
        """Return a text's values before the first layer that has an adapter: those do not change."""
        x: Floats = self._model.embedding[np.array(text.tokens)]
        if not self._shape.first_layer:
            return x
        if text not in self._below:
            spans, positions = _layout([text])
            for layer in range(self._shape.first_layer):
                x = self._forward(x, layer, spans, positions, _Memo())
            self._below[text] = x
        return self._below[text]

    def _linear(self, x: Floats, layer: int, name: str, memo: _Memo) -> Floats:
        y: Floats = x @ self._model.layers[layer][name].T
        a = self.parameters.get((layer, name, "a"))
        if a is not None:
            inner = x @ a.T
            memo.adapted[name] = (x, inner)
            y += self._shape.scale * (inner @ self.parameters[layer, name, "b"].T)
        return y

    def _linear_back(self, dy: Floats, layer: int, name: str, memo: _Memo, gradients: Gradients) -> Floats:
        dx: Floats = dy @ self._model.layers[layer][name]
        if name in memo.adapted:
            x, inner = memo.adapted[name]
            d_inner = self._shape.scale * (dy @ self.parameters[layer, name, "b"])
            gradients[layer, name, "b"] = self._shape.scale * (dy.T @ inner)
            gradients[layer, name, "a"] = d_inner.T @ x
            dx += d_inner @ self.parameters[layer, name, "a"]
        return dx

    def _forward(
        self, x: Floats, layer: int, spans: Sequence[Span], positions: NDArray[np.int64], memo: _Memo
    ) -> Floats:
        dimensions, weights = self._model.shape, self._model.layers[layer]
        heads, key_heads, width, count = dimensions.heads, dimensions.key_heads, dimensions.head_width, len(x)
        normed, attention_factor = _norm(x, weights["attn_norm"], dimensions.epsilon)
        q = self._rotate(self._linear(normed, layer, "attn_q", memo).reshape(count, heads, width), positions)
        k = self._rotate(self._linear(normed, layer, "attn_k", memo).reshape(count, key_heads, width), positions)
        v = self._linear(normed, layer, "attn_v", memo).reshape(count, key_heads, width)
        attended = np.empty((count, heads, width), np.float32)
        weights_of_spans = []
        for start, end in spans:
            attention = _attention(q[start:end], k[start:end])
            weights_of_spans.append(attention)
            attended[start:end] = _ungroup(attention @ v[start:end].transpose(1, 0, 2), heads)
        middle = x + self._linear(attended.reshape(count, -1), layer, "attn_output", memo)

        normed, feed_factor = _norm(middle, weights["ffn_norm"], dimensions.epsilon)
        gate = self._linear(normed, layer, "ffn_gate", memo)
        up = self._linear(normed, layer, "ffn_up", memo)
        # The logistic function, in a form whose powers cannot overflow.
        sigmoid = 0.5 * (1 + np.tanh(0.5 * gate))
        memo.values = (x, attention_factor, q, k, v, weights_of_spans, middle, feed_factor, gate, up, sigmoid)
        return middle + self._linear(gate * sigmoid * up, layer, "ffn_down", memo)

    def _backward(
        self,
        dy: Floats,
        layer: int,
        spans: Sequence[Span],
        positions: NDArray[np.int64],
        memo: _Memo,
        gradients: Gradients,
    ) -> Floats:
        x, attention_factor, q, k, v, weights_of_spans, middle, feed_factor, gate, up, sigmoid = memo.values
        weights: Mapping[str, Floats] = self._model.layers[layer]
        heads, key_heads, width, count = q.shape[1], k.shape[1], q.shape[2], len(x)
        scale = np.float32(1 / np.sqrt(width))

        d_product = self._linear_back(dy, layer, "ffn_down", memo, gradients)
        d_gate = d_product * up * (sigmoid * (1 + gate * (1 - sigmoid)))
        d_up = d_product * gate * sigmoid
        d_normed = self._linear_back(d_gate, layer, "ffn_gate", memo, gradients)
        d_normed += self._linear_back(d_up, layer, "ffn_up", memo, gradients)
        d_middle = dy + _norm_back(d_normed, middle, weights["ffn_norm"], feed_factor)

        d_attended = self._linear_back(d_middle, layer, "attn_output", memo, gradients).reshape(count, heads, width)
        dq, dk, dv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
        for (start, end), attention in zip(spans, weights_of_spans, strict=True):
            d_grouped = _group(d_attended[start:end], key_heads)
            dv[start:end] = (attention.transpose(0, 2, 1) @ d_grouped).transpose(1, 0, 2)
            d_attention = d_grouped @ v[start:end].transpose(1, 2, 0)
            # Of softmax.
            d_scores = attention * (d_attention - (d_attention * attention).sum(-1, keepdims=True)) * scale
            dq[start:end] = _ungroup(d_scores @ k[start:end].transpose(1, 0, 2), heads)
            dk[start:end] = (d_scores.transpose(0, 2, 1) @ _group(q[start:end], key_heads)).transpose(1, 0, 2)
        d_normed = self._linear_back(
            self._rotate(dq, positions, -1).reshape(count, -1), layer, "attn_q", memo, gradients
        )
        d_normed += self._linear_back(
            self._rotate(dk, positions, -1).reshape(count, -1), layer, "attn_k", memo, gradients
        )
        d_normed += self._linear_back(dv.reshape(count, -1), layer, "attn_v", memo, gradients)
        return d_middle + _norm_back(d_normed, x, weights["attn_norm"], attention_factor)

    def _rotate(self, x: Floats, positions: NDArray[np.int64], direction: int = 1) -> Floats:
        """Turn the pairs of numbers of each head by their position (Su et al. 2021, arXiv 2104.09864)."""
        cos, sin = self._cos[positions][:, None], np.float32(direction) * self._sin[positions][:, None]
        turned = np.empty_like(x)
        first, second = x[..., 0::2], x[..., 1::2]
        turned[..., 0::2], turned[..., 1::2] = first * cos - second * sin, first * sin + second * cos
        return turned


def _layout(texts: Sequence[Text]) -> tuple[list[Span], NDArray[np.int64]]:
    """Return where each text begins and ends in a batch, and the position of each token in its own text."""
    ends = np.cumsum([len(text.tokens) for text in texts])
    spans = [(int(end) - len(text.tokens), int(end)) for end, text in zip(ends, texts, strict=True)]
    return spans, np.concatenate([np.arange(len(text.tokens)) for text in texts])


def _group(x: Floats, key_heads: int) -> Floats:
    """[tokens, heads, width] -> [key heads, queries of a key head x tokens, width]."""
    count, heads, width = x.shape
    each = heads // key_heads
    return x.reshape(count, key_heads, each, width).transpose(1, 2, 0, 3).reshape(key_heads, each * count, width)


def _ungroup(x: Floats, heads: int) -> Floats:
    """Undo `_group`."""
    key_heads, rows, width = x.shape
    each = heads // key_heads
    count = rows // each
    return x.reshape(key_heads, each, count, width).transpose(2, 0, 1, 3).reshape(count, heads, width)


def _attention(q: Floats, k: Floats) -> Floats:
    """Return how much each query looks at each token up to its own: [key heads, queries x tokens, tokens]."""
    count, heads, width = q.shape
    key_heads = k.shape[1]
    scores = _group(q, key_heads) @ k.transpose(1, 2, 0) * np.float32(1 / np.sqrt(width))
    scores = scores.reshape(key_heads, heads // key_heads, count, count)
    scores += np.triu(np.full((count, count), MASKED), 1)
    weights: Floats = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return weights.reshape((key_heads, -1, count))


def _norm(x: Floats, weights: Floats, epsilon: np.float32) -> tuple[Floats, Floats]:
    """Return RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467) of x, and the factor of each row."""
    factor = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return x * factor * weights, factor


def _norm_back(dy: Floats, x: Floats, weights: Floats, factor: Floats) -> Floats:
    weighted = dy * weights
    dx: Floats = factor * weighted - x * factor**3 * (weighted * x).mean(-1, keepdims=True)
    return dx
