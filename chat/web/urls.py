"""Addresses of pages."""

from __future__ import annotations

from django.urls import path

from chat.web import accounts, health, uploads, views

urlpatterns = [
    path("", views.home, name="home"),
    path("c/new/", views.new, name="new"),
    path("c/<uuid:conversation_id>/", views.conversation, name="conversation"),
    path("c/<uuid:conversation_id>/older/", views.older, name="older"),
    path("c/<uuid:conversation_id>/files/", uploads.upload, name="upload"),
    path("c/<uuid:conversation_id>/rename/", views.rename, name="rename"),
    path("c/<uuid:conversation_id>/delete/", views.delete, name="delete"),
    path("c/<uuid:conversation_id>/restore/", views.restore, name="restore"),
    path("c/<uuid:conversation_id>/m/<uuid:message_id>.md", views.message_text, name="message_text"),
    path("c/<uuid:conversation_id>/export.json", views.export_json, name="export_json"),
    path("c/<uuid:conversation_id>/export.md", views.export_markdown, name="export_markdown"),
    path("artifacts/<uuid:artifact_id>/", uploads.artifact, name="artifact"),
    path("search/", views.search, name="search"),
    path("accounts/login/", accounts.Login.as_view(), name="login"),
    path("accounts/logout/", accounts.Logout.as_view(), name="logout"),
    path("accounts/password/", accounts.Password.as_view(), name="password"),
    path("accounts/signup/", accounts.SignUp.as_view(), name="signup"),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", health.for_prometheus, name="metrics"),
]
