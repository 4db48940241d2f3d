"""Settings: what they are when nothing is said, and how a wrong one is refused."""

from __future__ import annotations

import ast
import errno
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from dotenv import dotenv_values

from chat.conf import Conf, kept_secret, read
from chat.errors import ConfigurationError

ROOT = Path(__file__).parent.parent
SECRET = "a secret of more than thirty-two characters"
NAMES = [field.name.upper() for field in fields(Conf)]
SECRETS = ("OPENAI_API_KEY", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "DATABASE_URL", "REDIS_URL")


def conf(root: Path, **environ: str) -> Conf:
    return read(root, {"SECRET_KEY": SECRET} | environ)


def fault(root: Path, environ: Mapping[str, str]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        read(root, {"SECRET_KEY": SECRET} | dict(environ))
    words = str(raised.value)
    assert "\n" not in words
    return words


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    settings = read(tmp_path, {})
    assert settings.is_demo
    assert settings.openai_model == "gpt-5-mini"
    assert settings.database_url == f"sqlite:///{tmp_path}/var/db.sqlite3"
    assert settings.redis_url == ""
    assert settings.debug is False
    assert settings.allowed_hosts == ("127.0.0.1", "localhost", "[::1]")
    assert settings.csrf_trusted_origins == ()
    assert settings.agent_signup_open is True
    assert settings.agent_behind_tls is False


def test_empty_and_blank_values_are_the_defaults(tmp_path: Path) -> None:
    given = {name: "  " if number % 2 else "" for number, name in enumerate(NAMES)} | {"SECRET_KEY": SECRET}
    assert read(tmp_path, given) == conf(tmp_path)


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    settings = conf(
        tmp_path,
        OPENAI_API_KEY=" sk-x ",
        OPENAI_BASE_URL="http://localhost:11434/v1",
        DATABASE_URL="postgres://u:p@localhost:5432/name",
        REDIS_URL="redis://localhost:6379/0",
        SECRET_KEY_FALLBACKS=f"{SECRET} 1, {SECRET} 2,",
        ALLOWED_HOSTS="chat.example.com, .example.org,[::1], *",
        CSRF_TRUSTED_ORIGINS="https://chat.example.com,http://127.0.0.1:8080",
        AGENT_CONNECT_TIMEOUT_S="0.5",
        AGENT_HTML_FRAMES_PER_SECOND_MAX="7.5",
        AGENT_ATTEMPTS_MAX="7",
        AGENT_SIGNUP_OPEN="no",
        AGENT_UPLOAD_TYPES=".CSV, tar.gz,png,",
    )
    assert (settings.openai_api_key, settings.openai_base_url) == ("sk-x", "http://localhost:11434/v1")
    assert settings.database_url == "postgres://u:p@localhost:5432/name"
    assert settings.redis_url == "redis://localhost:6379/0"
    assert settings.secret_key_fallbacks == (f"{SECRET} 1", f"{SECRET} 2")
    assert settings.allowed_hosts == ("chat.example.com", ".example.org", "[::1]", "*")
    assert settings.csrf_trusted_origins == ("https://chat.example.com", "http://127.0.0.1:8080")
    assert (settings.agent_connect_timeout_s, settings.agent_html_frames_per_second_max) == (0.5, 7.5)
    assert (settings.agent_attempts_max, settings.agent_signup_open) == (7, False)
    assert settings.agent_upload_types == ("csv", "tar.gz", "png")


def test_no_kernel_at_all_may_be_kept_ready(tmp_path: Path) -> None:
    assert conf(tmp_path, AGENT_SANDBOX_WARM_KERNELS="0").agent_sandbox_warm_kernels == 0
    assert "must be zero or more" in fault(tmp_path, {"AGENT_SANDBOX_WARM_KERNELS": "-1"})


@pytest.mark.parametrize(("text", "value"), [("true", True), ("YES", True), ("1", True), ("on", True), ("0", False)])
def test_yes_and_no_have_several_forms(tmp_path: Path, text: str, value: bool) -> None:
    assert conf(tmp_path, DEBUG=text).debug is value


@pytest.mark.parametrize(("key", "url"), [("sk-x", ""), ("", "http://localhost/v1"), ("sk-x", "http://localhost/v1")])
def test_a_key_or_an_address_ends_the_demo(tmp_path: Path, key: str, url: str) -> None:
    assert not conf(tmp_path, OPENAI_API_KEY=key, OPENAI_BASE_URL=url).is_demo


NUMBERS = [field.name.upper() for field in fields(Conf) if field.type in ("int", "float")]
WHOLE_NUMBERS = [field.name.upper() for field in fields(Conf) if field.type == "int"]
MAY_BE_ZERO = {"AGENT_PROXIES", "AGENT_SANDBOX_WARM_KERNELS", "AGENT_METRICS_PORT"}
WRONG = [
    ("OPENAI_MODEL", "gpt\udcff"),
    ("OPENAI_API_KEY", "hidden\udcff"),
    ("AGENT_TOOL_DIALECT", "xml"),
    *((name, text) for name in NUMBERS for text in ("soon", "-1", "nan", "inf", "1e999", "1,5", "10 s")),
    *((name, "0") for name in NUMBERS if name not in MAY_BE_ZERO),
    *((name, "1.5") for name in WHOLE_NUMBERS),
    *((name, "1e12") for name in NUMBERS if name.endswith(("_S", "_DAYS"))),
    ("AGENT_METRICS_PORT", "65536"),
    ("AGENT_SANDBOX_PROCESSES_MAX", "4194305"),
    *((name, "9" * 30) for name in NUMBERS if not name.endswith("PASSWORD_MIN_CHARACTERS")),
    *(("OPENAI_API_KEY", text) for text in ("sk-hidden…key", "hidden\x01")),
    *((name, text) for name in ("DEBUG", "AGENT_SIGNUP_OPEN", "AGENT_BEHIND_TLS") for text in ("maybe", "2", "truee")),
    *(("OPENAI_BASE_URL", text) for text in ("localhost:1234", "ftp://x", "http://", "http://x:port", "http://[::1")),
    *(("DATABASE_URL", text) for text in ("db.sqlite3", "mysql://u:hidden@h/n", "postgres://", "postgres://h:x/n")),
    *(("DATABASE_URL", text) for text in ("postgres://u:hidden@h/n?sslmod=require", "sqlite:////srv/db?timeout=5")),
    *(("DATABASE_URL", text) for text in ("postgres://u:hidden@h", "postgres://u:hidden@h/", "sqlite:///:memory:")),
    *(("REDIS_URL", text) for text in ("redis://:hidden@h/first", "redis://:hidden@h/-1", "redis://:hidden@h/0/1")),
    *(("REDIS_URL", text) for text in ("localhost:6379", "http://:hidden@h", "redis://", "redis://h:x")),
    *(("SECRET_KEY", text) for text in ("hidden", "x" * 31)),
    *(("SECRET_KEY_FALLBACKS", text) for text in ("hidden", f"{SECRET},hidden")),
    *(
        ("CSRF_TRUSTED_ORIGINS", text)
        for text in ("chat.example.com", "https://", "https://a.b/path", "https://[::1", "https://a.b:x", "ftp://a.b")
    ),
    *(("AGENT_UPLOAD_TYPES", text) for text in ("*.csv", "csv;png", "csv, text/plain", "..csv", "c s v")),
    *(("ALLOWED_HOSTS", text) for text in ("https://a.b", "a.b:8000", "a b", "a.b/c", "::1", "ok.example, a/b")),
]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_value_is_refused_with_its_name_its_fault_and_a_valid_example(
    tmp_path: Path, name: str, text: str
) -> None:
    words = fault(tmp_path, {name: text})
    assert words.startswith(f"{name}: ")
    found = re.fullmatch(rf"{name}: (.+); a valid example: {name}=(.+)", words)
    assert found is not None
    if name != "SECRET_KEY":
        assert conf(tmp_path, **{name: found[2]})
    assert name in SECRETS or repr(text.rsplit(",", maxsplit=1)[-1].strip())[1:-1] in words


@pytest.mark.parametrize(("name", "text"), [pair for pair in WRONG if pair[0] in SECRETS])
def test_secrets_are_not_printed(tmp_path: Path, name: str, text: str) -> None:
    words = fault(tmp_path, {name: text})
    assert "***" in words
    assert "hidden" not in words
    assert text not in words.partition("a valid example")[0]


def test_a_value_with_a_line_break_is_still_refused_in_one_line(tmp_path: Path) -> None:
    assert "\\n" in fault(tmp_path, {"AGENT_ATTEMPTS_MAX": "1\n2"})


# The file


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# words\nOPENAI_MODEL=of-the-file\nAGENT_ATTEMPTS_MAX=2\nexport DEBUG='true'\n")
    assert conf(tmp_path).openai_model == "of-the-file"
    settings = conf(tmp_path, AGENT_ATTEMPTS_MAX="3")
    assert (settings.agent_attempts_max, settings.debug) == (3, True)


def test_a_wrong_value_in_the_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AGENT_ATTEMPTS_MAX=none\n")
    assert fault(tmp_path, {}).startswith("AGENT_ATTEMPTS_MAX: 'none' is not a number")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("AGENT_INSTRUCTIONS=Grüße\n".encode("latin-1"))
    assert fault(tmp_path, {}).startswith(".env: is not written in UTF-8; ")


def test_a_setting_that_does_not_exist_is_refused_in_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AGENT_QUEUE_MAX=7\n")
    assert fault(tmp_path, {}) == "AGENT_QUEUE_MAX: there is no such setting; .env.example lists every one"


def test_variables_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMPOSE_PROJECT=x\n")
    assert conf(tmp_path, AGENT_OF_ANOTHER_PROGRAM="x", PATH="/bin") == conf(tmp_path)


# The secret key


def test_a_secret_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = read(tmp_path, {}).secret_key
    kept = tmp_path / "var" / "secret_key"
    assert len(first) >= 50
    assert kept.read_text() == first
    assert kept.stat().st_mode & 0o777 == 0o600
    assert read(tmp_path, {}).secret_key == first
    assert list(kept.parent.iterdir()) == [kept]


def test_two_installations_have_two_secret_keys(tmp_path: Path) -> None:
    assert read(tmp_path / "a", {}).secret_key != read(tmp_path / "b", {}).secret_key


def test_a_secret_key_that_is_given_is_used_and_none_is_made(tmp_path: Path) -> None:
    assert read(tmp_path, {"SECRET_KEY": SECRET}).secret_key == SECRET
    assert list(tmp_path.iterdir()) == []


def test_a_secret_key_that_can_not_be_kept_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    with pytest.raises(ConfigurationError, match=r"^SECRET_KEY: is not set, and .* can't serve instead: "):
        read(tmp_path, {})


def test_a_secret_key_that_was_cut_short_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "secret_key").touch()
    with pytest.raises(ConfigurationError, match=r"^SECRET_KEY: is not set, and .*: it was cut short; "):
        read(tmp_path, {})


def test_no_draft_of_a_secret_is_left_behind(tmp_path: Path) -> None:
    def make() -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        kept_secret(tmp_path / "var" / "export_key", make)
    assert list((tmp_path / "var").iterdir()) == []


# The example


def test_the_example_file_lists_every_setting_and_nothing_else() -> None:
    assert sorted(dotenv_values(ROOT / ".env.example")) == sorted(NAMES)


def test_the_example_file_as_it_is_gives_the_defaults(tmp_path: Path) -> None:
    defaults = conf(tmp_path)
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert conf(tmp_path) == defaults


# What should not be seen


def test_secrets_are_known_with_the_passwords_that_stand_in_addresses(tmp_path: Path) -> None:
    found = conf(
        tmp_path,
        OPENAI_API_KEY="sk-something-long",
        SECRET_KEY="k" * 40,
        SECRET_KEY_FALLBACKS="f" * 40,
        DATABASE_URL="postgres://agentsite:data%2Fbase-password@localhost/agentsite",
        REDIS_URL="redis://:redis-password@localhost:6379/0",
    ).secrets
    assert set(found) == {"sk-something-long", "k" * 40, "f" * 40, "data/base-password", "redis-password"}


def test_a_password_that_is_an_ordinary_word_is_not_taken_out_of_every_line(tmp_path: Path) -> None:
    found = conf(tmp_path, SECRET_KEY="k" * 40, REDIS_URL="redis://:redis@localhost:6379/0", OPENAI_API_KEY="none")
    assert found.secrets == ("k" * 40,)


def test_faults_are_not_shown_on_a_site_that_others_reach(tmp_path: Path) -> None:
    words = fault(tmp_path, {"DEBUG": "true", "AGENT_BEHIND_TLS": "true"})
    assert words.startswith("DEBUG: 'true' shows settings")
    assert words.endswith("DEBUG=false")


def test_passwords_can_not_be_asked_to_be_longer_than_they_may_be(tmp_path: Path) -> None:
    assert "is more than 64" in fault(tmp_path, {"AGENT_PASSWORD_MIN_CHARACTERS": "65"})


def test_what_the_address_of_a_database_says_of_the_way_to_it_is_kept() -> None:
    url = "postgres://user@db.test/name?sslmode=verify-full&sslrootcert=/ca.pem"
    ask = "from agentsite import settings; print(settings.DATABASES['default']['OPTIONS'])"
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, capture_output=True, check=True
    )
    options = ast.literal_eval(done.stdout.decode())
    assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert options["pool"]


def test_a_session_of_less_than_a_second_lets_people_in_all_the_same() -> None:
    ask = "from agentsite import settings; print(settings.SESSION_COOKIE_AGE)"
    environ = {**os.environ, "AGENT_SESSION_MAX_S": "0.5"}
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, env=environ, capture_output=True, check=True)
    assert done.stdout == b"1\n"


def test_a_folder_that_can_not_be_made_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/file/db.sqlite3"}
    ask = "from agentsite import settings"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, env=environ, capture_output=True, check=False)
    assert done.returncode == 1
    words = f"Wrong setting: DATABASE_URL: {tmp_path}/file can't be made: File exists; a valid example: "
    assert done.stderr.decode() == f"{words}DATABASE_URL=sqlite:////srv/agentsite/var/db.sqlite3\n"
