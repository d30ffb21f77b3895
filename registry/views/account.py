"""Signing in and out, the start page, one's own account and the look of the pages."""

from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, UsernameField
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from core.errors import Problem
from registry.accounts import users
from registry.accounts.permissions import Actor
from registry.api.authentication import SESSION_PROJECT
from registry.models import Membership
from registry.views.frame import THEME_COOKIE, THEMES, done, errors_of, in_project, page, page_url, signed_in

YEAR = 365 * 24 * 3600


class SignInForm(AuthenticationForm):
    """Refuses what can be nobody's name before anything looks for it."""

    username = UsernameField(max_length=150)


class SignIn(LoginView):
    form_class = SignInForm
    template_name = "registry/sign_in.html"
    redirect_authenticated_user = True


class SignOut(LogoutView):
    pass


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The project opened last, else the first; a page that says what to do for somebody who has none."""
    memberships = Membership.objects.filter(user=signed_in(request)).select_related("project").order_by("project__slug")
    slugs = [membership.project.slug for membership in memberships]
    if not slugs:
        return render(request, "registry/no_project.html")
    last = request.session.get(SESSION_PROJECT)
    return redirect("registry:prompt-list", project=last if last in slugs else slugs[0])


@require_POST
@login_required
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system says; kept in this browser."""
    chosen = request.POST.get("theme", "")
    back = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = redirect(back if is_ours else "registry:home")
    if chosen in THEMES:
        response.set_cookie(THEME_COOKIE, chosen, max_age=YEAR, samesite="Lax", secure=request.is_secure())
    return response


@in_project
def profile(request: HttpRequest, actor: Actor) -> HttpResponse:
    """One's own name and address, and a new password."""
    user = signed_in(request)
    context: dict[str, object] = {"account": user, "section": "settings", "form": PasswordChangeForm(user)}
    if request.method != "POST":
        return page(request, actor, "registry/settings/profile.html", context)
    if "new_password1" in request.POST:
        form = PasswordChangeForm(user, request.POST)
        if form.is_valid():
            users.change_password(user, form.cleaned_data["new_password1"])
            update_session_auth_hash(request, user)
            return done(
                request, "Your password is changed; other browsers are signed out.", page_url("registry:profile", actor)
            )
        return page(request, actor, "registry/settings/profile.html", {**context, "form": form}, status=422)
    given = {name: request.POST.get(name, "").strip() for name in ("first_name", "last_name", "email")}
    try:
        users.change_profile(user, **given)
    except Problem as problem:
        context |= {"values": given, "errors": errors_of(problem)}
        return page(request, actor, "registry/settings/profile.html", context, status=problem.kind.status)
    return done(request, "Saved.", page_url("registry:profile", actor))
