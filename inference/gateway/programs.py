"""Programs that ask the inference service for a task, as its page shows them. Pure."""

import json
from collections.abc import Sequence

KEY_TO_FILL_IN = "YOUR KEY"
ELLIPSIS = "…"
PYTHON = """import openai

client = openai.OpenAI(base_url="{address}/v1", api_key="{key}")
answer = client.chat.completions.create(
    model="{model}",
    messages={messages},{extra_body}
)
print(answer.choices[0].message.content)"""
CURL = """curl {address}/v1/chat/completions -H "Authorization: Bearer {key}" \\
  -d '{{"model": "{model}", "messages": {messages}{cuebook}}}'"""
TYPESCRIPT = """import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{address}/v1", apiKey: "{key}" }});
const answer = await client.chat.completions.create({{
  model: "{model}",
  messages: {messages},{spread}
}});
console.log(answer.choices[0].message.content);"""


def programs(address: str, model: str, question: str, variables: Sequence[str]) -> list[tuple[str, str]]:
    """Return programs by their titles. `question` is the variable that the last message is, empty where there is none;
    `variables` are all that the version takes."""
    messages = json.dumps([{"role": "user", "content": ELLIPSIS}] if question else [], ensure_ascii=False)
    others = {name: ELLIPSIS for name in variables if name != question}
    cuebook = json.dumps({"variables": others}, ensure_ascii=False) if others or not question else ""
    members = {
        "address": address,
        "key": KEY_TO_FILL_IN,
        "model": model,
        "messages": messages,
        "cuebook": f', "cuebook": {cuebook}' if cuebook else "",
        "extra_body": f'\n    extra_body={{"cuebook": {cuebook}}},' if cuebook else "",
        "spread": f"\n  ...{{ cuebook: {cuebook} }}," if cuebook else "",
    }
    titles = (("curl", CURL), ("Python", PYTHON), ("TypeScript", TYPESCRIPT))
    return [(title, program.format(**members)) for title, program in titles]
