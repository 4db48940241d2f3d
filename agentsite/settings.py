"""Django's settings, from what `chat.conf` read."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import dj_database_url

from chat.conf import read
from chat.errors import ConfigurationError

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    AGENTSITE = read(BASE_DIR, os.environ)
except ConfigurationError as fault:
    sys.exit(f"Wrong setting: {fault}")

SECRET_KEY = AGENTSITE.secret_key
SECRET_KEY_FALLBACKS = list(AGENTSITE.secret_key_fallbacks)
# Signs exports of logs; made when the first is.
EXPORT_KEY_FILE = BASE_DIR / "var" / "export_key"
DEBUG = AGENTSITE.debug
ALLOWED_HOSTS = list(AGENTSITE.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(AGENTSITE.csrf_trusted_origins)

INSTALLED_APPS = [
    "daphne",
    "whitenoise.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "chat",
]
if AGENTSITE.is_on_postgresql:
    # Jobs for workers are rows, written in the transaction of the step that gave the order.
    INSTALLED_APPS.insert(-1, "procrastinate.contrib.django")
    PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "jobs"
MIDDLEWARE = [
    # First, so that no answer goes without: no file, no redirect, no refusal.
    "chat.web.headers.SecurityHeadersMiddleware",
    "chat.web.forms.readable_forms",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "agentsite.urls"
ASGI_APPLICATION = "agentsite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
        },
    }
]

DATABASES = {"default": dj_database_url.parse(AGENTSITE.database_url)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    folder = Path(DATABASES["default"]["NAME"]).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        example = "DATABASE_URL=sqlite:////srv/agentsite/var/db.sqlite3"
        sys.exit(f"Wrong setting: DATABASE_URL: {folder} can't be made: {fault.strerror}; a valid example: {example}")
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
    }
    # The tests use threads, which a database in memory does not share.
    DATABASES["default"]["TEST"] = {"NAME": str(BASE_DIR / "var" / "test.sqlite3")}
else:
    # A connection for each thread of the store, for those of pages, and for the jobs; and what the address says, such
    # as whom to trust.
    DATABASES["default"]["OPTIONS"] = {
        "pool": {"min_size": 1, "max_size": AGENTSITE.agent_database_threads_max + 8, "timeout": 10},
        "connect_timeout": 5,
        **DATABASES["default"].get("OPTIONS", {}),
    }
    # What was connected before PostgreSQL was restarted is found out before it is used.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if AGENTSITE.redis_url:
    # Without limits of time, a Redis that hangs would hold up whoever speaks to it.
    _HOST = {"address": AGENTSITE.redis_url, "socket_timeout": 2, "socket_connect_timeout": 2}
    _LAYER = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [_HOST]}}
else:
    _LAYER = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
CHANNEL_LAYERS = {"default": _LAYER}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": AGENTSITE.agent_password_min_characters},
    },
    {"NAME": "chat.web.passwords.MaximumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

if AGENTSITE.agent_behind_tls:
    # The proxy that ends TLS must set this header itself, and take it from no client.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # No other name under the same domain can set these.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
# From the log-in on, and not from the last visit: it is not written with each page.
SESSION_COOKIE_AGE = math.ceil(AGENTSITE.agent_session_max_s)
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "var" / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# Served from where they lie, so that a start needs no collecting; a front server may do better.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False
MEDIA_ROOT = BASE_DIR / "var" / "artifacts"

TEST_RUNNER = "tests.runner.PytestRunner"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"about": {"()": "chat.logs.About"}, "brief": {"()": "chat.logs.Brief"}},
    "formatters": {
        "text": {
            "()": "chat.logs.TextFormatter",
            "fmt": "{asctime} {levelname} {name}: {message}",
            "style": "{",
            "secrets": AGENTSITE.secrets,
        },
        "json": {"()": "chat.logs.JsonFormatter", "secrets": AGENTSITE.secrets},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": AGENTSITE.agent_log_format,
            "filters": ["about", "brief"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "chat": {"level": "INFO"},
        # The relay says when Redis goes and comes; this would say it with a traceback each second between.
        "channels_redis": {"level": "CRITICAL"},
    },
}
