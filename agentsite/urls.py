"""Addresses of pages."""

from django.contrib import admin
from django.urls import include, path

from chat.web.accounts import AdminLogInForm

# Its own log-in page is a door like the other.
admin.site.login_form = AdminLogInForm

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("chat.web.urls")),
]
