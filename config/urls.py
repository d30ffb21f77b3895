from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from finetunes.api.webhooks import webhook as tuning_webhook
from inference.api.otlp import Traces
from registry.api.interop.langfuse import LangfusePrompt
from registry.api.interop.litellm import LiteLLMPrompt
from registry.operations.metrics import metrics

# Only to be looked at: an OPTIONS request would describe the page as if it were data.
docs = SpectacularSwaggerSplitView.as_view(url_name="schema", http_method_names=["get", "head"])

urlpatterns = [
    path("metrics", metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("api/v1/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/docs", docs, name="api-docs"),
    path("api/v1/", include("registry.api.urls")),
    path("api/v1/", include("evaluations.api.urls")),
    path("api/v1/", include("inference.api.urls")),
    path("api/v1/", include("finetunes.api.urls")),
    path("hooks/fine-tunes/<int:key>", tuning_webhook, name="tuning-webhook"),
    path("api/public/v2/prompts/<str:name>", LangfusePrompt.as_view(), name="langfuse-prompt"),
    path("v1/traces", Traces.as_view(), name="otlp-traces"),
    path("api/public/otel/v1/traces", Traces.as_view(), name="langfuse-traces"),
    path("beta/litellm_prompt_management", LiteLLMPrompt.as_view(), name="litellm-prompt"),
    path("", include("registry.urls")),
    path("", include("evaluations.urls")),
    path("", include("inference.urls")),
    path("", include("finetunes.urls")),
]

handler400 = "infra.rest.bad_request"
handler403 = "infra.rest.forbidden"
handler404 = "infra.rest.not_found"
handler500 = "infra.rest.server_error"
