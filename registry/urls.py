from django.urls import path

from registry.views import account, compare, editor, examples, images, keys, promotions, prompts, search, settings

app_name = "registry"
P = "p/<slug:project>"
PROMPT = f"{P}/prompts/<str:name>"
EXAMPLES = f"{P}/examples/<str:name>"
urlpatterns = [
    path("", account.home, name="home"),
    path("login/", account.SignIn.as_view(), name="login"),
    path("logout/", account.SignOut.as_view(), name="logout"),
    path("theme/", account.theme, name="theme"),
    path("invitations/<int:number>/accept/", account.invitation_answer, {"answer": "accept"}, name="invitation-accept"),
    path(
        "invitations/<int:number>/decline/", account.invitation_answer, {"answer": "decline"}, name="invitation-decline"
    ),
    path(f"{P}/prompts/", prompts.prompt_list, name="prompt-list"),
    path(f"{P}/new-prompt/", prompts.prompt_new, name="prompt-new"),
    path(f"{PROMPT}/", prompts.prompt_detail, name="prompt-detail"),
    path(f"{PROMPT}/history/", prompts.prompt_history, name="prompt-history"),
    path(f"{PROMPT}/versions/<int:number>/", prompts.version_detail, name="version-detail"),
    path(f"{PROMPT}/use/", prompts.version_use, name="version-use"),
    path(f"{PROMPT}/about/", prompts.prompt_about, name="prompt-about"),
    path(f"{PROMPT}/archive/", prompts.prompt_archive, name="prompt-archive"),
    path(f"{PROMPT}/restore/", prompts.prompt_restore, name="prompt-restore"),
    path(f"{PROMPT}/compare/", compare.prompt_compare, name="prompt-compare"),
    path(f"{PROMPT}/edit/", editor.editor, name="editor"),
    path(f"{PROMPT}/edit/draft/", editor.draft_save, name="draft-save"),
    path(f"{PROMPT}/edit/discard/", editor.draft_discard, name="draft-discard"),
    path(f"{PROMPT}/edit/commit/", editor.draft_commit, name="draft-commit"),
    path(f"{PROMPT}/edit/merge/", editor.draft_merge, name="draft-merge"),
    path(f"{PROMPT}/promote/", promotions.promotion_new, name="promotion-new"),
    path(f"{PROMPT}/rollback/", promotions.rollback, name="rollback"),
    path(f"{P}/examples/", examples.example_list, name="example-list"),
    path(f"{P}/new-example-set/", examples.example_new, name="example-new"),
    path(f"{EXAMPLES}/", examples.example_detail, name="example-detail"),
    path(f"{EXAMPLES}/edit/", examples.example_edit, name="example-edit"),
    path(f"{EXAMPLES}/add/", examples.example_add, name="example-add"),
    path(f"{EXAMPLES}/history/", examples.example_history, name="example-history"),
    path(f"{EXAMPLES}/versions/<int:number>/file/", examples.example_file_of, name="example-file"),
    path(f"{EXAMPLES}/about/", examples.example_about, name="example-about"),
    path(f"{EXAMPLES}/archive/", examples.example_archive, name="example-archive"),
    path(f"{EXAMPLES}/restore/", examples.example_restore, name="example-restore"),
    path(f"{EXAMPLES}/embed/", examples.example_embed, name="example-embed"),
    path(f"{P}/images/<str:sha256>/", images.image_file, name="image-file"),
    path(f"{P}/promotions/", promotions.promotion_list, name="promotion-list"),
    path(f"{P}/promotions/<int:number>/", promotions.promotion_detail, name="promotion-detail"),
    path(f"{P}/promotions/<int:number>/<str:verb>/", promotions.promotion_act, name="promotion-act"),
    path(f"{P}/inbox/", promotions.inbox_page, name="inbox"),
    path(f"{P}/search/", search.search_page, name="search"),
    path(f"{P}/profile/", account.profile, name="profile"),
    path(f"{P}/settings/members/", settings.members, name="members"),
    path(f"{P}/settings/members/<str:username>/remove/", settings.member_remove, name="member-remove"),
    path(f"{P}/settings/invitations/<int:number>/withdraw/", settings.invitation_withdraw, name="invitation-withdraw"),
    path(f"{P}/settings/environments/", settings.environment_list, name="environments"),
    path(f"{P}/settings/environments/<str:name>/", settings.environment_detail, name="environment"),
    path(f"{P}/settings/environments/<str:name>/move/", settings.environment_move, name="environment-move"),
    path(f"{P}/settings/environments/<str:name>/remove/", settings.environment_remove, name="environment-remove"),
    path(f"{P}/settings/keys/", keys.key_list, name="keys"),
    path(f"{P}/settings/keys/<str:key_id>/", keys.key_detail, name="key"),
    path(f"{P}/settings/keys/<str:key_id>/revoke/", keys.key_revoke, name="key-revoke"),
    path(f"{P}/settings/audit/", settings.audit_log, name="audit"),
]
