"""Addresses of pages."""

from django.contrib import admin
from django.urls import include, path

from chat.web.accounts import AdminLogInForm
from chat.web.views import nowhere

# Its own log-in page is a door like the other.
admin.site.login_form = AdminLogInForm

urlpatterns = [
    # No object of this site has a page of its own outside of the admin for this to lead to.
    path("admin/r/<path:rest>", nowhere),
    path("admin/", admin.site.urls),
    path("", include("chat.web.urls")),
]
