"""How many tokens an image is, by the rules that the providers publish. Pure.

An estimate: what a provider scales an image to is its own affair.

OpenAI ("Calculating costs" in its guide to images): tiles of 512 pixels, or patches of 32 with a factor for each
model. Anthropic (its guide to vision): patches of 28 pixels. Google (its guide to media resolution): a fixed number
from Gemini 3 on, tiles of 768 pixels before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, sqrt

from core.image_data import size_of

# Of an address nobody knows the size: a picture as people send it.
USUAL_SIZE = (1_024, 1_024)


@dataclass(frozen=True)
class _Tiles:
    """OpenAI's older rule: so many tokens, and more for each tile of 512 pixels, of an image that was scaled into a
    square of 2,048 and to 768 on its short edge."""

    base: int
    tile: int

    def count(self, width: int, height: int, detail: str) -> int:
        if detail == "low":
            return self.base
        scale = min(1.0, 2_048 / max(width, height))
        scale *= min(1.0, 768 / (min(width, height) * scale))
        return self.base + self.tile * ceil(width * scale / 512) * ceil(height * scale / 512)


@dataclass(frozen=True)
class _Patches:
    """Patches of some pixels, each worth a factor of tokens; larger images are scaled to the most patches."""

    pixels: int
    factor: float
    most: int
    # With high detail OpenAI scales to fewer than with automatic detail, where its newer models take the original.
    most_high: int | None = None
    most_low: int | None = None

    def count(self, width: int, height: int, detail: str) -> int:
        most = {"high": self.most_high, "low": self.most_low}.get(detail) or self.most
        columns, rows = width / self.pixels, height / self.pixels
        if ceil(columns) * ceil(rows) > most:
            scale = sqrt(most / (columns * rows))
            # And a little more, until one edge is a whole number of patches.
            scale *= min(floor(edge * scale) / (edge * scale) for edge in (columns, rows) if edge * scale >= 1)
            columns, rows = round(columns * scale, 6), round(rows * scale, 6)
        return ceil(min(most, ceil(columns) * ceil(rows)) * self.factor)


GPT_4O = _Tiles(85, 170)
CLAUDE, CLAUDE_BEFORE_5 = _Patches(28, 1.0, 4_784), _Patches(28, 1.0, 1_568)
# By the beginning of a model's name; the longest wins.
RULES: Mapping[str, _Tiles | _Patches] = {
    **{"gpt-4o": GPT_4O, "gpt-4.1": GPT_4O, "gpt-4.5": GPT_4O, "gpt-4o-mini": _Tiles(2_833, 5_667)},
    **{"o1": _Tiles(75, 150), "o3": _Tiles(75, 150), "gpt-5": _Tiles(70, 140)},
    **{"gpt-4.1-mini": _Patches(32, 1.62, 1_536), "gpt-4.1-nano": _Patches(32, 2.46, 1_536)},
    **{"gpt-5-mini": _Patches(32, 1.62, 1_536), "gpt-5-nano": _Patches(32, 2.46, 1_536)},
    "o4-mini": _Patches(32, 1.72, 1_536),
    **dict.fromkeys(("gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6"), _Patches(32, 1.2, 10_000, 2_500, 256)),
    "claude": CLAUDE,
    **{f"claude-{line}-4": CLAUDE_BEFORE_5 for line in ("opus", "sonnet", "haiku")},
    **dict.fromkeys(("claude-2", "claude-3"), CLAUDE_BEFORE_5),
}
GEMINI, GEMINI_TILE = 1_120, 258


def count_image(address: str, detail: str, model: str) -> int:
    """Estimate the tokens of an image, as data or by its address, for a model; another's count by OpenAI's tiles."""
    width, height = size_of(address) or USUAL_SIZE
    name = model.removeprefix("ft:").removeprefix("models/")
    if name.startswith("gemini"):
        return _gemini(width, height, name)
    prefixes = [prefix for prefix in RULES if name.startswith(prefix)]
    rule = RULES[max(prefixes, key=len)] if prefixes else GPT_4O
    return rule.count(width, height, detail)


def _gemini(width: int, height: int, model: str) -> int:
    if not model.startswith(("gemini-1", "gemini-2")):
        return GEMINI
    if max(width, height) <= 384:
        return GEMINI_TILE
    crop = max(256, min(768, int(min(width, height) / 1.5)))
    return GEMINI_TILE * ceil(width / crop) * ceil(height / crop)
