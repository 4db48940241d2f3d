"""Addresses of pages."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from chat.web.accounts import AdminLogInForm
from chat.web.views import nowhere

# Its own log-in page is a door like the other.
admin.site.login_form = AdminLogInForm

urlpatterns = [
    # No object of this site has a page of its own outside of the admin for this to lead to.
    path("admin/r/<path:rest>", nowhere),
    # Where wrong passwords are counted: there is one page to change one's own.
    path("admin/password_change/", RedirectView.as_view(pattern_name="password")),
    path("admin/", admin.site.urls),
    path("", include("chat.web.urls")),
]
