"""Sign-in and sign-out, the start page, the user's own account and the colours of the pages."""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, UsernameField
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from core.errors import Problem
from registry.accounts import invitations, users
from registry.accounts.permissions import Actor
from registry.api.authentication import SESSION_PROJECT
from registry.models import Membership
from registry.views.frame import THEME_COOKIE, THEMES, done, errors_of, in_project, page, page_url, signed_in

YEAR = 365 * 24 * 3600


class SignInForm(AuthenticationForm):
    """Refuses what cannot be a user name before the database is asked."""

    username = UsernameField(max_length=150)


class SignIn(LoginView):
    form_class = SignInForm
    template_name = "registry/sign_in.html"
    redirect_authenticated_user = True


class SignOut(LogoutView):
    pass


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Redirect to the project opened last, else the first; a user without one is told what to do."""
    memberships = Membership.objects.filter(user=signed_in(request)).select_related("project").order_by("project__slug")
    slugs = [membership.project.slug for membership in memberships]
    if not slugs:
        return render(
            request, "registry/no_project.html", {"invitations": invitations.invitations_of(signed_in(request))}
        )
    last = request.session.get(SESSION_PROJECT)
    return redirect("registry:prompt-list", project=last if last in slugs else slugs[0])


@require_POST
@login_required
def invitation_answer(request: HttpRequest, number: int, answer: str) -> HttpResponse:
    """Accept or decline an invitation."""
    try:
        if answer == "accept":
            membership = invitations.accept(signed_in(request), number)
            messages.success(request, f"You are {membership.role} in {membership.project.name} now")
            return redirect("registry:prompt-list", project=membership.project.slug)
        declined = invitations.decline(signed_in(request), number)
        messages.success(request, f"Invitation to {declined.project.name} declined")
    except Problem as problem:
        messages.error(request, problem.detail)
    return redirect("registry:home")


@require_POST
@login_required
def theme(request: HttpRequest) -> HttpResponse:
    """Set light, dark or the system's colours, in a cookie of this browser."""
    name = request.POST.get("theme", "")
    back = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = redirect(back if is_ours else "registry:home")
    if name in THEMES:
        response.set_cookie(THEME_COOKIE, name, max_age=YEAR, samesite="Lax", secure=request.is_secure())
    return response


@in_project
def profile(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Change the user's own name, e-mail address and password."""
    user = signed_in(request)
    context: dict[str, object] = {"account": user, "section": "settings"}
    if request.method != "POST":
        return page(request, actor, "registry/settings/profile.html", context)
    if "new_password1" in request.POST:
        form = PasswordChangeForm(user, request.POST)
        if form.is_valid():
            users.change_password(user, form.cleaned_data["new_password1"])
            update_session_auth_hash(request, user)
            return done(request, "Password changed; other browsers are signed out", page_url("registry:profile", actor))
        context["errors"] = {name: errors[0] for name, errors in form.errors.items()}
        return page(request, actor, "registry/settings/profile.html", context, status=422)
    values = {name: request.POST.get(name, "").strip() for name in ("first_name", "last_name", "email")}
    try:
        users.change_profile(user, **values)
    except Problem as problem:
        context |= {"values": values, "errors": errors_of(problem)}
        return page(request, actor, "registry/settings/profile.html", context, status=problem.kind.status)
    return done(request, "Profile saved", page_url("registry:profile", actor))
