from django.urls import path

from finetunes import views

app_name = "finetunes"
urlpatterns = [path("p/<slug:project>/prompts/<str:name>/strategy/panel/", views.prompt_panel, name="prompt-panel")]
