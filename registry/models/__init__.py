"""The registry's tables. Import from `registry.models`; inside the package, audit and governance build on people and
prompts, never the reverse."""

from registry.models.audit import AuditEntry
from registry.models.by_actor import ByActor
from registry.models.collections import Chunk, Collection, CollectionEmbedding, Document, DocumentRevision
from registry.models.drafts import NextRevision, PromptDraft, PromptSample
from registry.models.examples import (
    Embedding,
    EmbeddingState,
    Example,
    ExamplePlace,
    ExampleSet,
    ExampleSetVersion,
    ExampleVector,
    TextVector,
)
from registry.models.governance import (
    UNDECIDED,
    CheckStatus,
    Decision,
    Environment,
    Promotion,
    PromotionContributor,
    PromotionStatus,
    Release,
    ReleaseKind,
    Review,
    Snapshot,
    VersionCheck,
)
from registry.models.images import ImageMediaType, UploadedImage
from registry.models.invitations import Invitation, InvitationState
from registry.models.operations import ProcessHeartbeat, ProcessKind, TaskNotice
from registry.models.people import APIKey, KeyUsage, Membership, Project, Role, Scope, User
from registry.models.prompts import FetchCount, Inclusion, Prompt, PromptVersion

__all__ = [
    "UNDECIDED",
    "APIKey",
    "AuditEntry",
    "ByActor",
    "CheckStatus",
    "Chunk",
    "Collection",
    "CollectionEmbedding",
    "Decision",
    "Document",
    "DocumentRevision",
    "Embedding",
    "EmbeddingState",
    "Environment",
    "Example",
    "ExamplePlace",
    "ExampleSet",
    "ExampleSetVersion",
    "ExampleVector",
    "FetchCount",
    "ImageMediaType",
    "Inclusion",
    "Invitation",
    "InvitationState",
    "KeyUsage",
    "Membership",
    "NextRevision",
    "ProcessHeartbeat",
    "ProcessKind",
    "Project",
    "Promotion",
    "PromotionContributor",
    "PromotionStatus",
    "Prompt",
    "PromptDraft",
    "PromptSample",
    "PromptVersion",
    "Release",
    "ReleaseKind",
    "Review",
    "Role",
    "Scope",
    "Snapshot",
    "TaskNotice",
    "TextVector",
    "UploadedImage",
    "User",
    "VersionCheck",
]
