"""Many prompts and versions, quickly: rows as the domain functions would write them, inserted in bulk."""

from registry import access, projects, versions
from registry.content import normalise, whole_text
from registry.identity import content_hash
from registry.models import Prompt, PromptVersion

BATCH = 2_000


class Filler:
    """A project that is filled to a wanted number of versions, and committed to."""

    def __init__(self, text: str, versions_a_prompt: int) -> None:
        self._text = text
        self._each = versions_a_prompt
        self._actor = access.command_line(projects.create_project(slug="benchmark", name="Benchmark"))
        self._prompts: list[Prompt] = []
        self._commits = 0

    def fill(self, wanted: int) -> None:
        """Add prompts with versions until there are `wanted` versions."""
        missing = (wanted - PromptVersion.objects.count()) // self._each
        first = len(self._prompts)
        made = [
            Prompt(project=self._actor.project, name=f"prompt-{first + index}", created_by_name="benchmark")
            for index in range(max(0, missing))
        ]
        self._prompts += Prompt.objects.bulk_create(made)
        rows = (self._row(prompt, number) for prompt in self._prompts[first:] for number in range(1, self._each + 1))
        PromptVersion.objects.bulk_create(rows, batch_size=BATCH)
        heads = PromptVersion.objects.filter(prompt__in=self._prompts[first:], number=self._each)
        for head in heads.iterator():
            Prompt.objects.filter(pk=head.prompt_id).update(head=head, head_text=whole_text(head.content))

    def commit(self, index: int) -> None:
        """Commit new content to one of the prompts."""
        self._commits += 1
        prompt = self._prompts[index % len(self._prompts)]
        versions.commit(self._actor, prompt, content=self._content(f"commit {self._commits}"), message="A change")

    def _content(self, label: str) -> dict[str, object]:
        return {"kind": "chat", "messages": [{"role": "user", "content": self._text.format(label)}]}

    def _row(self, prompt: Prompt, number: int) -> PromptVersion:
        content = normalise(self._content(f"{prompt.name} {number}"))
        return PromptVersion(
            prompt=prompt,
            number=number,
            content=content,
            content_hash=content_hash(content),
            tokens=versions.written_tokens(content, ()),
            author_name="benchmark",
        )
