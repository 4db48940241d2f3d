"""Makes the Python that runs inside the sandbox: its own venv, with its own packages, compiled and warm.

Knows where it lies and what belongs into it. `python -m chat.tools.sandbox.install` does it from a terminal; it is done
in milliseconds when there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
PLACE = Path(__file__).resolve().parents[3] / ".venv-sandbox"
# Written last: says what was installed, and with which Python.
_RECORD = "agentsite.json"
# matplotlib looks for fonts for seconds when it has no list of them.
_WARM = "import matplotlib.font_manager, numpy, pandas, matplotlib.pyplot, ipykernel.kernelapp"


def is_installed(venv: Path = PLACE) -> bool:
    """Whether it is there and as it should be."""
    return _read_record(venv) == _record_due()


def python_home(venv: Path) -> Path | None:
    """Where the Python lies that the venv is made of; None when that is under /usr, which the sandbox has anyway."""
    home = Path(_read_record(venv)["python_home"])
    return None if home.is_relative_to("/usr") else home


def install(venv: Path = PLACE) -> None:
    """Make it, or make it anew when its requirements or its Python have changed."""
    if is_installed(venv):
        return
    if venv.exists():
        shutil.rmtree(venv)
    python = str(venv / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)  # noqa: S603
    uv = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if uv:
        arguments = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    else:
        subprocess.run([python, "-m", "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        arguments = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--compile"]
    subprocess.run([*arguments, "--require-hashes", "-r", str(REQUIREMENTS)], check=True)  # noqa: S603
    fonts = venv / "matplotlib"
    fonts.mkdir()
    subprocess.run([python, "-I", "-c", _WARM], check=True, env={"MPLCONFIGDIR": str(fonts), "HOME": str(venv)})  # noqa: S603
    _let_others_read(venv)
    (venv / _RECORD).write_text(json.dumps(_record_due()))


def _record_due() -> dict[str, str]:
    return {
        "requirements": hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest(),
        "python": sys.version,
        "python_home": sys.base_prefix,
    }


def _read_record(venv: Path) -> dict[str, str]:
    try:
        record = json.loads((venv / _RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _let_others_read(venv: Path) -> None:
    """Inside, another user reads this; root's umask may have kept it to root."""
    for folder, _, names in os.walk(venv):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444)


if __name__ == "__main__":
    install()
