"""Many prompts and versions, quickly: rows as the domain functions would write them, inserted in bulk."""

from django.utils import timezone

from core.content import full_text
from registry.accounts import permissions, projects
from registry.content.content_hash import content_hash
from registry.content.normalize import normalise
from registry.models import (
    CheckStatus,
    Promotion,
    PromotionStatus,
    Prompt,
    PromptVersion,
    Release,
    ReleaseKind,
    VersionCheck,
)
from registry.promotions import environments
from registry.prompts import versions

BATCH = 2_000
# Folders and tags that the prompts are spread over.
TEAMS = 10


class Filler:
    """A project that is filled to a wanted number of versions, and committed to."""

    def __init__(self, text: str, versions_a_prompt: int, slug: str = "benchmark") -> None:
        self._text = text
        self._each = versions_a_prompt
        self._actor = permissions.actor_for_command_line(projects.create_project(slug=slug, name="Benchmark"))
        self._prompts: list[Prompt] = []
        self._commits = 0

    def fill(self, version_count: int) -> None:
        """Add prompts with versions until there are `wanted` versions."""
        self.fill_prompts((version_count - PromptVersion.objects.count()) // self._each)

    def fill_prompts(self, missing: int) -> None:
        """Add so many prompts with their versions."""
        first = len(self._prompts)
        prompts = [
            Prompt(
                project=self._actor.project,
                name=f"team-{(first + index) % TEAMS}.prompt-{first + index}",
                tags=[f"tag-{(first + index) % TEAMS}"],
                created_by_name="benchmark",
            )
            for index in range(max(0, missing))
        ]
        self._prompts += Prompt.objects.bulk_create(prompts)
        rows = (self._row(prompt, number) for prompt in self._prompts[first:] for number in range(1, self._each + 1))
        PromptVersion.objects.bulk_create(rows, batch_size=BATCH)
        heads = PromptVersion.objects.filter(prompt__in=self._prompts[first:], number=self._each)
        for head in heads.iterator():
            Prompt.objects.filter(pk=head.prompt_id).update(head=head, head_text=full_text(head.content))

    def release(self) -> None:
        """Make the newest version of every prompt live in production, and let every tenth have a failed check."""
        production = environments.get_environment(self._actor.project, "production")
        heads = Prompt.objects.filter(project=self._actor.project).values_list("pk", "head_id", "head__content_hash")
        promotions = [
            Promotion(
                environment=production,
                prompt_id=prompt,
                version_id=head,
                status=PromotionStatus.APPLIED,
                decided_at=timezone.now(),
                requested_by_name="benchmark",
            )
            for prompt, head, _ in heads
        ]
        Release.objects.bulk_create(
            Release(
                environment=production,
                prompt_id=promotion.prompt_id,
                version_id=promotion.version_id,
                number=1,
                kind=ReleaseKind.PROMOTE,
                promotion=promotion,
                by_name="benchmark",
            )
            for promotion in Promotion.objects.bulk_create(promotions, batch_size=BATCH)
        )
        VersionCheck.objects.bulk_create(
            VersionCheck(
                project=self._actor.project,
                content_hash=digest,
                name="evals",
                status=CheckStatus.FAILED,
                recorded_by_name="benchmark",
            )
            for index, (_, _, digest) in enumerate(heads)
            if index % TEAMS == 0
        )

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
            tokens=versions.count_written_tokens(content, ()),
            author_name="benchmark",
        )
