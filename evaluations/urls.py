from django.urls import path

from evaluations import views

app_name = "evaluations"
PROMPT = "p/<slug:project>/prompts/<str:name>"
urlpatterns = [
    path(f"{PROMPT}/evaluations/panel/", views.prompt_panel, name="prompt-panel"),
    path(f"{PROMPT}/usage/panel/", views.usage_panel, name="usage-panel"),
]
