"""The one reader of settings: environment variables to a frozen, typed object with units in the names.

Knows each variable's name, default, form and meaning. Must not import Django: its settings import this.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from dotenv import dotenv_values

from chat.core.calls import Policy
from chat.errors import ConfigurationError

# A shorter one would be found in words that tell nothing.
SECRET_MIN_CHARACTERS = 8
# So that it can't be guessed.
SECRET_KEY_MIN_CHARACTERS = 32
# Above this, Django's own rules for passwords have nothing more to say.
PASSWORD_MIN_CHARACTERS_MAX = 64
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Conf:
    """Every setting. Names in capitals are the environment's; `.env.example` explains each."""

    openai_api_key: str = ""
    openai_base_url: str = ""
    openai_model: str = "gpt-5-mini"
    database_url: str = ""
    redis_url: str = ""
    secret_key: str = ""
    secret_key_fallbacks: tuple[str, ...] = ()
    debug: bool = False
    allowed_hosts: tuple[str, ...] = LOOPBACK_NAMES
    csrf_trusted_origins: tuple[str, ...] = ()
    agent_instructions: str = "You are a helpful assistant. Answer in Markdown."
    agent_signup_open: bool = True
    agent_session_max_s: float = 14 * 24 * 3600
    agent_password_min_characters: int = 8
    agent_behind_tls: bool = False
    agent_connect_timeout_s: float = 10
    agent_first_token_timeout_s: float = 120
    agent_token_gap_timeout_s: float = 60
    agent_answer_timeout_s: float = 1800
    agent_upstream_connections_max: int = 2000
    agent_attempts_max: int = 4
    agent_backoff_first_s: float = 1
    agent_backoff_max_s: float = 30
    agent_retry_after_max_s: float = 300
    agent_run_takeovers_max: int = 50
    agent_checkpoint_interval_s: float = 1
    agent_heartbeat_interval_s: float = 1
    agent_heartbeat_timeout_s: float = 6
    agent_effects: Literal["auto", "embedded", "workers"] = "auto"
    agent_worker_concurrency: int = 100
    agent_drain_timeout_s: float = 10
    agent_database_threads_max: int = 8
    agent_relay_flushes_per_second_max: float = 30.0
    agent_metrics_port: int = 0
    agent_log_format: Literal["text", "json"] = "text"
    agent_tool_policies: tuple[tuple[str, Policy], ...] = ()
    agent_tool_dialect: Literal["native", "text"] = "native"
    agent_tool_rounds_max: int = 50
    agent_tool_result_max_characters: int = 20_000
    agent_tool_output_max_characters: int = 200_000
    agent_sandbox_memory_max_mib: int = 1024
    agent_sandbox_folder_max_mib: int = 512
    agent_sandbox_warm_kernels: int = 1
    agent_sandbox_kernels_max: int = 16
    agent_sandbox_idle_timeout_s: float = 900
    agent_sandbox_execution_timeout_s: float = 300
    agent_sandbox_cpu_max_s: float = 3600
    agent_sandbox_processes_max: int = 64
    agent_sandbox_output_max_characters: int = 1_000_000
    agent_sandbox_interrupt_grace_s: float = 0.3
    agent_sandbox_start_timeout_s: float = 60
    agent_deleted_kept_days: float = 30.0
    agent_upload_max_mib: int = 50
    agent_upload_types: tuple[str, ...] = ()
    agent_queue_max_messages: int = 50
    agent_page_messages: int = 50
    agent_html_frames_per_second_max: float = 60.0
    agent_socket_backlog_max_frames: int = 1000
    agent_slow_reader_timeout_s: float = 10
    agent_sockets_max_per_user: int = 1000
    agent_sockets_max_per_address: int = 5000
    agent_frames_max_per_second: float = 1000.0
    agent_proxies: int = 0
    agent_login_window_s: float = 300
    agent_login_failures_max_per_name: int = 10
    agent_login_failures_max_per_address: int = 50
    agent_signups_max_per_hour_and_address: int = 1000
    agent_signup_failures_max_per_hour_and_address: int = 1000
    agent_messages_max_per_hour: int = 10_000
    agent_runs_max_per_user: int = 1000
    agent_tokens_max_per_day: int = 100_000_000
    agent_storage_max_mib_per_user: int = 10_240

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may read in a log or on a page."""
        passwords = (urlsplit(url).password or "" for url in (self.database_url, self.redis_url))
        kept = (self.openai_api_key, self.secret_key, *self.secret_key_fallbacks, *map(unquote, passwords))
        return tuple(secret for secret in kept if len(secret) >= SECRET_MIN_CHARACTERS)

    @property
    def is_demo(self) -> bool:
        """Whether the built-in scripted demo model answers."""
        return not self.openai_api_key and not self.openai_base_url

    @property
    def is_on_postgresql(self) -> bool:
        """Whether the database is one that several processes share."""
        return not self.database_url.startswith("sqlite")

    @property
    def uses_workers(self) -> bool:
        """Whether runs are performed by `manage.py worker`, and not by the processes that serve."""
        if self.agent_effects == "auto":
            return self.is_on_postgresql and bool(self.redis_url)
        return self.agent_effects == "workers"


def read(root: Path, environ: Mapping[str, str]) -> Conf:
    """The settings from the environment and from `.env` in `root`; the environment wins.

    Makes and keeps a secret key under `var/` when none is set. Raises ConfigurationError with one line that
    names the variable, the fault and a valid example.
    """
    try:
        written = {name: value for name, value in dotenv_values(root / ".env").items() if value is not None}
    except UnicodeDecodeError:
        raise ConfigurationError(".env: is not written in UTF-8; save it as UTF-8, such as .env.example is") from None
    known = {field.name.upper(): field for field in fields(Conf)}
    given = written | dict(environ)
    # Only in the file: other programs have variables of that form in the environment.
    for name in written:
        if name.startswith("AGENT_") and name not in known:
            raise ConfigurationError(f"{name}: there is no such setting; .env.example lists every one")
    values: dict[str, Any] = {}
    for name, field in known.items():
        text = given.get(name, "").strip()
        if text:
            _check_encoding(name, text, field.default)
            form = _FORMS.get(name)
            values[field.name] = form(name, text) if form else _typed(name, text, field.default)
    values["database_url"] = values.get("database_url") or f"sqlite:///{root / 'var' / 'db.sqlite3'}"
    values["secret_key"] = values.get("secret_key") or _kept_secret_key(root / "var" / "secret_key")
    conf = Conf(**values)
    if conf.agent_heartbeat_timeout_s < 2 * conf.agent_heartbeat_interval_s:
        name, text = "AGENT_HEARTBEAT_TIMEOUT_S", str(conf.agent_heartbeat_timeout_s)
        raise _fault(name, text, "is less than two of AGENT_HEARTBEAT_INTERVAL_S", "6")
    if conf.uses_workers and not (conf.is_on_postgresql and conf.redis_url):
        fault = "needs a DATABASE_URL of PostgreSQL and a REDIS_URL"
        raise _fault("AGENT_EFFECTS", conf.agent_effects, fault, "embedded")
    if conf.debug and conf.agent_behind_tls:
        raise _fault(
            "DEBUG", "true", "shows settings to whoever comes, and AGENT_BEHIND_TLS says that others do", "false"
        )
    if conf.agent_password_min_characters > PASSWORD_MIN_CHARACTERS_MAX:
        text = str(conf.agent_password_min_characters)
        raise _fault("AGENT_PASSWORD_MIN_CHARACTERS", text, f"is more than {PASSWORD_MIN_CHARACTERS_MAX}", "12")
    return conf


def _fault(name: str, text: str, fault: str, example: str) -> ConfigurationError:
    shown = "***" if name in _SECRETS else repr(text)
    return ConfigurationError(f"{name}: {shown} {fault}; a valid example: {name}={example}")


def _check_encoding(name: str, text: str, default: Any) -> None:
    """Bytes of the environment that are not UTF-8 come as halves of character pairs, which can't be sent on."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _fault(name, text, "holds bytes that are not UTF-8", str(default or "text")) from None


def _typed(name: str, text: str, default: Any) -> Any:
    """The value in the type of its default."""
    if isinstance(default, bool):
        if text.lower() not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
            raise _fault(name, text, "is neither true nor false", "true")
        return text.lower() in {"true", "1", "yes", "on"}
    if isinstance(default, int | float):
        try:
            number = float(text) if isinstance(default, float) or name.endswith("_S") else int(text)
        except ValueError:
            raise _fault(name, text, "is not a number", str(default)) from None
        may_be_zero = name in _MAY_BE_ZERO
        if not (0 < number < float("inf") or (may_be_zero and number == 0)):
            raise _fault(name, text, f"must be {'zero or more' if may_be_zero else 'more than zero'}", str(default))
        most = next(most for ending, most in _AT_MOST.items() if name.endswith(ending))
        if number > most:
            raise _fault(name, text, f"must be no more than {most}", str(default))
        return number
    return text


def _url(*schemes: str, example: str) -> Callable[[str, str], str]:
    def check(name: str, text: str) -> str:
        try:
            parts = urlsplit(text)
            is_whole = parts.scheme in schemes and (parts.scheme == "sqlite" or bool(parts.hostname))
            _ = parts.port
        except ValueError:
            is_whole = False
        if not is_whole:
            raise _fault(name, text, f"is not an address of the form {' or '.join(schemes)}://…", example)
        return text

    return check


def _database(name: str, text: str) -> str:
    example = "postgres://agentsite:password@localhost:5432/agentsite"
    _url("postgres", "postgresql", "sqlite", example=example)(name, text)
    # Each thread of the site would have another database in memory.
    if urlsplit(text).path.strip("/") in {"", ":memory:"}:
        raise _fault(name, text, "names no database that is kept", example)
    options = {option for option, _ in parse_qsl(urlsplit(text).query, keep_blank_values=True)}
    unknown = min(options - _known_options(urlsplit(text).scheme), default="")
    if unknown:
        raise _fault(name, text, f"has an option that is unknown, {unknown[:40]!r}", f"{example}?sslmode=require")
    return text


def _known_options(scheme: str) -> set[str]:
    """What the address of a database may ask for. It would not be asked before the first connection."""
    if scheme == "sqlite":
        return set()
    # Needs the library of PostgreSQL, which a site without it does not load.
    from psycopg import pq  # noqa: PLC0415

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    return known | {"assume_role", "currentSchema", "server_side_binding"}


def _redis(name: str, text: str) -> str:
    example = "redis://localhost:6379/0"
    _url("redis", "rediss", example=example)(name, text)
    number = urlsplit(text).path.removeprefix("/")
    # The client would take the first instead, which may be another site's.
    if number and not (number.isascii() and number.isdigit()):
        raise _fault(name, text, "ends in what is no number of a database", example)
    return text


def _api_key(name: str, text: str) -> str:
    # Such as the dots in the middle of a key that was shown shortened, and copied like that.
    if not text.isascii() or not text.isprintable():
        raise _fault(name, text, "holds characters that no key has", "sk-and-letters-and-digits")
    return text


def _secret(name: str, text: str) -> str:
    if len(text) < SECRET_KEY_MIN_CHARACTERS:
        fault = f"is shorter than {SECRET_KEY_MIN_CHARACTERS} characters and could be guessed"
        raise _fault(name, text, fault, "a random text of 50 characters")
    return text


def _former_secrets(name: str, text: str) -> tuple[str, ...]:
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    if any(len(key) < SECRET_KEY_MIN_CHARACTERS for key in keys):
        example = "the-last-key-of-at-least-32-characters,the-one-before-it-of-32-and-more"
        raise _fault(name, text, f"holds a key that is shorter than {SECRET_KEY_MIN_CHARACTERS} characters", example)
    return keys


def _origins(name: str, text: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        try:
            parts = urlsplit(origin)
            _ = parts.port
            is_origin = parts.scheme in {"http", "https"} and bool(parts.hostname)
            is_origin = is_origin and not (parts.path or parts.query or parts.fragment)
        except ValueError:
            is_origin = False
        if not is_origin:
            raise _fault(name, origin, "is not an origin with its scheme", "https://chat.example.com")
    return origins


def _policies(name: str, text: str) -> tuple[tuple[str, Policy], ...]:
    policies: dict[str, Policy] = {}
    for part in text.split(","):
        tool, _, policy = (word.strip() for word in part.partition("="))
        if not tool or policy not in set(Policy):
            example = "execute_python=ask,current_time=auto,run_shell=never"
            raise _fault(name, part.strip(), "is not a tool's name with ask, staff, auto or never", example)
        policies[tool] = Policy(policy)
    return tuple(policies.items())


def _one_of(*words: str) -> Callable[[str, str], str]:
    def check(name: str, text: str) -> str:
        if text not in words:
            raise _fault(name, text, f"is none of {', '.join(words)}", words[0])
        return text

    return check


def _endings(name: str, text: str) -> tuple[str, ...]:
    """What names of files end in: lower case, without the first dot."""
    endings = tuple(part.strip() for part in text.split(",") if part.strip())
    for ending in endings:
        if not _ENDING.fullmatch(ending):
            raise _fault(name, ending, "is not what a file's name ends in", "csv,xlsx,png")
    return tuple(ending.lower().removeprefix(".") for ending in endings)


def _hosts(name: str, text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip() for part in text.split(",") if part.strip())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise _fault(name, host, "is not the name of a host, without scheme and port", "chat.example.com")
    return hosts


_SECRETS = frozenset({"OPENAI_API_KEY", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "DATABASE_URL", "REDIS_URL"})
_HOST = re.compile(r"\*|\.?[\w.-]+|\[[0-9A-Fa-f:.]+\]")
_ENDING = re.compile(r"\.?[A-Za-z0-9]+(\.[A-Za-z0-9]+)*")
# No proxy in front; no figures served; and no kernel kept ready: the first code of a conversation waits for its kernel,
# and nothing is used while nobody works.
_MAY_BE_ZERO = frozenset({"AGENT_PROXIES", "AGENT_SANDBOX_WARM_KERNELS", "AGENT_METRICS_PORT"})
# By how names end: what there is of ports and of processes; thirty years, beyond which no calendar reaches for long;
# and else what no site comes near, and a database still takes for a number.
_AT_MOST = {"_PORT": 65_535, "_PROCESSES_MAX": 2**22, "_S": 10**9, "_DAYS": 10_000, "": 10**12}
_FORMS: dict[str, Callable[[str, str], Any]] = {
    "OPENAI_API_KEY": _api_key,
    "OPENAI_BASE_URL": _url("http", "https", example="https://api.openai.com/v1"),
    "DATABASE_URL": _database,
    "REDIS_URL": _redis,
    "SECRET_KEY": _secret,
    "SECRET_KEY_FALLBACKS": _former_secrets,
    "AGENT_TOOL_POLICIES": _policies,
    "AGENT_TOOL_DIALECT": _one_of("native", "text"),
    "AGENT_EFFECTS": _one_of("auto", "embedded", "workers"),
    "AGENT_LOG_FORMAT": _one_of("text", "json"),
    "AGENT_UPLOAD_TYPES": _endings,
    "ALLOWED_HOSTS": _hosts,
    "CSRF_TRUSTED_ORIGINS": _origins,
}


def _kept_secret_key(path: Path) -> str:
    try:
        key = kept_secret(path, lambda: secrets.token_urlsafe(50))
        fault = "" if len(key) >= SECRET_KEY_MIN_CHARACTERS else "it was cut short"
    except OSError as error:
        fault = error.strerror or str(error)
    if fault:
        words = f"is not set, and {path} can't serve instead: {fault}"
        raise ConfigurationError(f"SECRET_KEY: {words}; a valid example: SECRET_KEY=a random text of 50 characters")
    return key


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """A secret of this installation, made when it is first asked for and readable by its owner alone."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        draft.touch(mode=0o600)
        draft.write_text(make())
        # Two processes that start at once must agree: the first link wins.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text().strip()
