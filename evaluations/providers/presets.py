"""Providers that are known: their address, their protocol, and what is odd about them. Pure.

Facts of November 2026, by each provider's own reference. An address with `{...}` has a part that the user fills in.
"""

from dataclasses import dataclass

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"
PROTOCOLS = {
    CHAT: "Chat Completions (OpenAI and compatible servers)",
    RESPONSES: "Responses (OpenAI)",
    MESSAGES: "Messages (Anthropic)",
    GEMINI: "Gemini (Google)",
}
PROTOCOL_CHOICES = tuple(PROTOCOLS.items())
USUAL = ("chat", "json_schema", "tools")


@dataclass(frozen=True)
class Preset:
    """A provider to start from. `needs_key`: calls without one are refused."""

    name: str
    title: str
    base_url: str
    protocol: str = CHAT
    note: str = ""
    capabilities: tuple[str, ...] = USUAL
    needs_key: bool = True


PRESETS = (
    Preset(
        "openai",
        "OpenAI",
        "https://api.openai.com/v1",
        RESPONSES,
        "Over Responses, which its newer models need for tools beside reasoning. No fine-tune jobs from 2027-01-06 on.",
        (*USUAL, "fine_tuning"),
    ),
    Preset(
        "azure",
        "Azure OpenAI",
        "https://{resource}.openai.azure.com/openai/v1?api-version=preview",
        RESPONSES,
        "Models are named as you named the deployment; say on its row which model it is. For an older API version use "
        "https://{resource}.openai.azure.com/openai/deployments/{deployment}?api-version=2024-10-21 and Chat "
        "Completions.",
        (*USUAL, "fine_tuning"),
    ),
    Preset(
        "anthropic",
        "Anthropic",
        "https://api.anthropic.com/v1",
        MESSAGES,
        "Newer models take no temperature. A limit of output is always sent: the version's, or the model's own up to "
        "32,768.",
    ),
    Preset(
        "gemini",
        "Google Gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        GEMINI,
        "Its own protocol: its layer of OpenAI's does not tell the tokens of thinking. Images have to be data, not "
        "addresses.",
    ),
    Preset("mistral", "Mistral", "https://api.mistral.ai/v1", CHAT, "", USUAL),
    Preset(
        "together",
        "Together",
        "https://api.together.xyz/v1",
        CHAT,
        "Lists its models as a bare list. Schemas are held by some models only.",
        (*USUAL, "fine_tuning"),
    ),
    Preset(
        "fireworks",
        "Fireworks",
        "https://api.fireworks.ai/inference/v1",
        CHAT,
        "Models are named accounts/fireworks/models/…; a tuned one has to be deployed before it answers.",
        (*USUAL, "fine_tuning"),
    ),
    Preset("groq", "Groq", "https://api.groq.com/openai/v1", CHAT, "Schemas are held by some models only."),
    Preset(
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        CHAT,
        "Names have their maker in front (openai/gpt-6-luna). Settings that a model lacks are dropped there, unsaid.",
    ),
    Preset(
        "deepseek",
        "DeepSeek",
        "https://api.deepseek.com/v1",
        CHAT,
        "Has json_object and no schemas.",
        ("chat", "tools"),
    ),
    Preset(
        "vllm",
        "vLLM",
        "http://localhost:8000/v1",
        CHAT,
        "Its own settings (guided_json, chat_template_kwargs) are sent as they are.",
        needs_key=False,
    ),
    Preset(
        "ollama",
        "Ollama",
        "http://localhost:11434/v1",
        CHAT,
        "Answers at most as long as its context (num_ctx), which is 4,096 tokens unless you set it.",
        needs_key=False,
    ),
    Preset(
        "llamacpp",
        "llama.cpp",
        "http://localhost:8080/v1",
        CHAT,
        "Tells how many calls it takes at a time; takes any model's name.",
        needs_key=False,
    ),
    Preset(
        "lmstudio",
        "LM Studio",
        "http://localhost:1234/v1",
        CHAT,
        "Loads a model when it is first asked.",
        needs_key=False,
    ),
    Preset("other", "Another server", "", CHAT, "Any server that speaks one of the protocols.", needs_key=False),
)


def get_preset(name: str) -> Preset | None:
    return next((preset for preset in PRESETS if preset.name == name), None)
