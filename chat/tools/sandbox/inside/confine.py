"""Takes rights away from this very process: resource limits, Landlock, seccomp.

Runs inside the sandbox with the sandbox's own Python, before any foreign code. Knows the kernel's interfaces; must not
import anything but the standard library, because the site's packages are not there.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterable, Mapping

# The oldest Landlock that keeps signals and abstract sockets in (Linux 6.12).
LANDLOCK_ABI_MIN = 6

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_ALL_OF_FILES = (1 << 16) - 1
# What may be done in the work folder: everything but making device nodes (6: character, 11: block), and ioctl on them.
_MAY_WRITE = _ALL_OF_FILES & ~(1 << 6 | 1 << 11 | _IOCTL_DEV)
_MAY_READ = _EXECUTE | _READ_FILE | _READ_DIR
# The rights that a rule on a single file, not a folder, may name.
_OF_ONE_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_ALL_OF_TCP = 0b11
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_SIGKILL = 9
_SECCOMP_MODE_FILTER = 2
_FILTER_INSTRUCTION_BYTES = 8

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def landlock_abi() -> int:
    """The version of Landlock that this Linux has; 0 when it has none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def limit(limits: Mapping[str, int]) -> None:
    """Set hard limits by their names in `resource`, without the prefix; nobody inside can raise them."""
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (bound, bound))


def offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, this goes before the server."""
    try:
        with open("/proc/self/oom_score_adj", "w") as adjustment:
            adjustment.write("1000")
    except OSError:
        pass


def give_up_privileges() -> None:
    """No set-uid program gives rights from here on."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process, not of the machine's first one."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "child_subreaper")


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends, however that ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "pdeathsig")


def keep_signals_in() -> None:
    """From here on, signals of this process reach its own descendants and nothing else."""
    _restrict(_Ruleset(fs=0, net=0, scoped=_SCOPE_SIGNALS), ())


def restrict_files(*, read: Iterable[str], write: Iterable[str], devices: Iterable[str]) -> None:
    """Nothing of the file system but these, no TCP, no abstract sockets and no signals to the outside."""
    rules = [(path, _MAY_READ) for path in read]
    rules += [(path, _MAY_WRITE) for path in write]
    rules += [(path, _READ_FILE | _WRITE_FILE | _TRUNCATE) for path in devices]
    _restrict(
        _Ruleset(fs=_ALL_OF_FILES, net=_ALL_OF_TCP, scoped=_SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS), tuple(rules)
    )


def filter_system_calls(program: bytes) -> None:
    """Install a compiled seccomp filter, which holds for every thread and child that this process makes."""
    filled = _Program(length=len(program) // _FILTER_INSTRUCTION_BYTES, filter=program)
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0), "seccomp")


def _restrict(ruleset: _Ruleset, rules: tuple[tuple[str, int], ...]) -> None:
    handle = _libc.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(ctypes.sizeof(ruleset)), 0)
    _checked(handle, "landlock_create_ruleset")
    for path, allowed in rules:
        try:
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        rights = allowed if os.path.isdir(path) else allowed & _OF_ONE_FILE
        rule = _PathBeneath(allowed=rights, parent_fd=file)
        _checked(_libc.syscall(_ADD_RULE, handle, _RULE_PATH_BENEATH, ctypes.byref(rule), 0), f"a rule for {path}")
        os.close(file)
    _checked(_libc.syscall(_RESTRICT_SELF, handle, 0), "landlock_restrict_self")
    os.close(handle)


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
