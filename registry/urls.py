from django.urls import path

from registry import views

app_name = "registry"
urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", views.SignOut.as_view(), name="logout"),
    path("p/<slug:project>/prompts/", views.prompt_list, name="prompt-list"),
    path("p/<slug:project>/prompts/<str:name>/", views.prompt_detail, name="prompt-detail"),
    path("p/<slug:project>/promotions/<int:number>/<str:verb>/", views.promotion_act, name="promotion-act"),
    path("p/<slug:project>/prompts/<str:name>/compare/", views.prompt_compare, name="prompt-compare"),
]
