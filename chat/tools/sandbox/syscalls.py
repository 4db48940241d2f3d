"""The seccomp filter: which system calls code in the sandbox may make, compiled to BPF by libseccomp.

Knows system calls and their arguments. Must not know who installs the filter, or when.

A list of what is allowed, not of what is forbidden: a call that Linux learns tomorrow is refused until somebody has
looked at it. Refused calls say "not implemented", so that programs take their other way, as they do on an older
Linux.
"""

from __future__ import annotations

import errno
import importlib
import socket
import tempfile
from functools import cache
from typing import Any

# Reading and writing files, folders and pipes.
FILES = """
access faccessat faccessat2 open openat openat2 creat close close_range dup dup2 dup3 pipe pipe2 read write readv
writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek stat fstat lstat newfstatat fstatat64 statx
statfs fstatfs getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2
link linkat symlink symlinkat readlink readlinkat mknod mknodat truncate ftruncate fallocate fsync fdatasync
sync_file_range fadvise64 readahead sendfile copy_file_range splice tee flock fcntl umask fchmod fchown fgetxattr
fsetxattr flistxattr getxattr lgetxattr listxattr llistxattr
"""
# Change a file by its path; with Landlock alone these need a closer look, see `_paths_of_others`.
ATTRIBUTES = "chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat utimensat"
MEMORY = """
brk mmap munmap mremap mprotect madvise mincore msync mlock mlock2 munlock membarrier pkey_alloc pkey_free pkey_mprotect
get_mempolicy map_shadow_stack
"""
PROCESSES = """
fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill getpid getppid gettid getpgid getpgrp getsid
setpgid setsid set_tid_address set_robust_list get_robust_list futex futex_waitv rseq arch_prctl prctl sched_yield
sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
sched_rr_get_interval getpriority getrlimit getrusage times sysinfo uname getuid geteuid getgid getegid getresuid
getresgid getgroups capget setrlimit getcpu restart_syscall
"""
SIGNALS = """
rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn rt_sigsuspend rt_sigtimedwait sigaltstack pause alarm
setitimer getitimer
"""
TIME = """
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time timer_create timer_settime timer_gettime
timer_delete timer_getoverrun
"""
WAITING = """
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
timerfd_create timerfd_settime timerfd_gettime signalfd signalfd4 getrandom
"""
# What is done with a socket that there already is.
SOCKETS = """
accept accept4 bind listen getsockname getpeername getsockopt setsockopt sendto sendmsg sendmmsg recvfrom recvmsg
recvmmsg shutdown
"""
ALLOWED = tuple(" ".join((FILES, MEMORY, PROCESSES, SIGNALS, TIME, WAITING, SOCKETS)).split())

# New namespaces would open parts of the kernel that only root used to reach.
CLONE_NEW_NAMESPACE_MASK = 0x7E020000
# What terminals and pipes are asked: sizes, modes, how much waits. Not among them: putting characters into a terminal.
CONTROLS = (
    *(0x5401, 0x5402, 0x5403, 0x5404, 0x5409, 0x540A, 0x540B, 0x540E, 0x540F, 0x5410, 0x5411, 0x5413, 0x5414, 0x541B),
    *(0x5421, 0x5422, 0x5429, 0x5441, 0x5450, 0x5451, 0x5452, 0x80045430, 0x40045431),
    *(0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D, 0x40049409, 0x80086601),
)
PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
SOCKET_TYPE_MASK = 0xF
MASK_32_BITS = 0xFFFFFFFF


class SeccompMissingError(Exception):
    """libseccomp is not installed."""


@cache
def compiled(*, has_own_namespaces: bool) -> bytes:
    """The filter as BPF for this machine.

    has_own_namespaces: whether bubblewrap gives the code its own network, processes and users. Without them, no socket
    is made at all, and attributes of files are changed only through an open file.
    """
    try:
        # Here, because it looks for the C library when it is imported.
        seccomp: Any = importlib.import_module("pyseccomp")
    except (ImportError, OSError, RuntimeError) as fault:
        raise SeccompMissingError(str(fault)) from fault
    rules: Any = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    allow = seccomp.ALLOW

    def rule(action: Any, name: str, *arguments: Any) -> None:
        try:
            number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
        except (ValueError, RuntimeError):
            return
        # Negative: another architecture's call.
        if number >= 0:
            rules.add_rule(action, name, *arguments)

    def is_equal(position: int, value: int, mask: int = MASK_32_BITS) -> Any:
        return seccomp.Arg(position, seccomp.MASKED_EQ, mask, value)

    for name in ALLOWED:
        rule(allow, name)
    # clone3 keeps its flags in memory, where no filter sees them: not implemented, so that libraries use clone.
    rule(allow, "clone", is_equal(0, 0, CLONE_NEW_NAMESPACE_MASK))
    for request in CONTROLS:
        rule(allow, "ioctl", is_equal(1, request))
    for value in PERSONALITIES:
        rule(allow, "personality", is_equal(0, value))
    # Of a process by its number: only its own, because a server of the same user has a number, too.
    for name in (
        "prlimit64",
        "sched_setaffinity",
        "sched_setscheduler",
        "sched_setparam",
        "sched_setattr",
        "sched_getattr",
    ):
        rule(allow, name, is_equal(0, 0))
    # libzmq aborts when it can't set what its threads have anyway.
    rule(seccomp.ERRNO(0), "sched_setscheduler", seccomp.Arg(0, seccomp.NE, 0))
    rule(allow, "setpriority", is_equal(0, 0), is_equal(1, 0))
    rule(allow, "ioprio_set", is_equal(0, 1), is_equal(1, 0))
    rule(allow, "socketpair", is_equal(0, socket.AF_UNIX), is_equal(1, socket.SOCK_STREAM, SOCKET_TYPE_MASK))
    if has_own_namespaces:
        rule(allow, "socket", is_equal(0, socket.AF_UNIX))
        rule(allow, "connect")
        for name in ATTRIBUTES.split():
            rule(allow, name)
    else:
        _paths_of_others(seccomp, rule)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _paths_of_others(seccomp: Any, rule: Any) -> None:
    """Landlock does not know these calls: they could change the mode or the times of the user's own files outside.

    They do nothing and say that they did it, because unpacking and copying programs give up when they fail.
    """
    nothing = seccomp.ERRNO(0)
    for name in ATTRIBUTES.split():
        if name != "utimensat":
            rule(nothing, name)
    rule(nothing, "utimensat", seccomp.Arg(1, seccomp.NE, 0))
    rule(seccomp.ALLOW, "utimensat", seccomp.Arg(1, seccomp.EQ, 0))
