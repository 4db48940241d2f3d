"""Cells that reach for other processes and for the rare corners of Linux."""

from __future__ import annotations

from tests.tools.attacks import Attack

ON_PROCESSES = (
    Attack(
        name="signals_the_server",
        code="""
for number in (0, signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
    try:
        os.kill(server, number)
    except OSError as fault:
        print("contained", fault)
""",
    ),
    Attack(
        name="queues_a_signal_to_the_server",
        code=r"""
must_fail(libc.syscall(129, server, 10, b"\x00" * 128))
""",
    ),
    Attack(
        name="stops_the_first_process_inside",
        code="""
[os.kill(1, number) for number in (9, 19, 15)] if os.path.exists("/mnt/work") else attempt(os.kill, 1, 9)
""",
    ),
    Attack(
        name="gives_its_terminal_input",
        code="""
import fcntl, termios

for file in (0, 1, 2):
    attempt(fcntl.ioctl, file, termios.TIOCSTI, b"x")
""",
    ),
    Attack(
        name="raises_its_own_limits",
        code="""
for name in ("AS", "NPROC", "FSIZE", "NOFILE", "CPU", "DATA"):
    attempt(resource.setrlimit, getattr(resource, "RLIMIT_" + name), (1 << 40, 1 << 40))
""",
    ),
    Attack(
        name="dumps_core",
        code="""
pid = os.fork()
if pid == 0:
    os.abort()
os.waitpid(pid, 0)
print("ESCAPED" if glob.glob("core*") else "contained")
""",
    ),
)

# name: system call numbers (x86-64, arm64) and arguments.
CALLS: dict[str, tuple[int, int, str]] = {
    "mount": (165, 40, "b'x', b'/mnt', b'tmpfs', 0, None"),
    "umount2": (166, 39, "b'/proc', 2"),
    "fsopen": (430, 430, "b'tmpfs', 0"),
    "open_tree": (428, 428, "-100, b'/', 1"),
    "pivot_root": (155, 41, "b'.', b'.'"),
    "chroot": (161, 51, "b'.'"),
    "unshare_users": (272, 97, "0x10000000"),
    "unshare_network": (272, 97, "0x40000000"),
    "setns": (308, 268, "0, 0"),
    "clone3": (435, 435, "b'\\0' * 88, 88"),
    "clone_new_user": (56, 220, "0x10000011, 0, 0, 0, 0"),
    "ptrace": (101, 117, "16, server, 0, 0"),
    "process_vm_readv": (310, 270, "server, 0, 0, 0, 0, 0"),
    "pidfd_open": (434, 434, "server, 0"),
    "kcmp": (312, 272, "os.getpid(), server, 0, 0, 0"),
    "keyctl": (250, 219, "0, -3, 1"),
    "add_key": (248, 217, "b'user', b'a', b'b', 1, -3"),
    "bpf": (321, 280, "0, b'\\0' * 128, 128"),
    "io_uring_setup": (425, 425, "8, b'\\0' * 120"),
    "perf_event_open": (298, 241, "b'\\0' * 128, 0, -1, -1, 0"),
    "userfaultfd": (323, 282, "1"),
    "memfd_create": (319, 279, "b'x', 0"),
    "memfd_secret": (447, 447, "0"),
    "shmget": (29, 194, "0, 1 << 30, 0o1600"),
    "msgget": (68, 186, "0, 0o1600"),
    "mq_open": (240, 180, "b'x', 66, 0o600, 0"),
    "inotify_init": (294, 26, "0"),
    "fanotify_init": (300, 262, "0, 0"),
    "name_to_handle_at": (303, 264, "-100, b'.', b'\\0' * 200, b'\\0' * 8, 0"),
    "open_by_handle_at": (304, 265, "-100, b'\\0' * 200, 0"),
    "init_module": (175, 105, "0, 0, b''"),
    "kexec_load": (246, 104, "0, 0, 0, 0"),
    "reboot": (169, 142, "0xfee1dead, 672274793, 0, 0"),
    "swapon": (167, 224, "b'x', 0"),
    "settimeofday": (164, 170, "b'\\0' * 16, 0"),
    "sethostname": (170, 161, "b'evil', 4"),
    "syslog": (103, 116, "3, b'\\0' * 100, 100"),
    "acct": (163, 89, "b'x'"),
    "quotactl": (179, 60, "0, 0, 0, 0"),
    "landlock_create_ruleset": (444, 444, "0, 0, 1"),
    "seccomp": (317, 277, "2, 0, b'\\0' * 16"),
    "prlimit_of_the_server": (302, 261, "server, 7, b'\\0' * 16, 0"),
    "priority_of_the_server": (141, 140, "0, server, 19"),
    "affinity_of_the_server": (203, 122, "server, 8, b'\\1' + b'\\0' * 7"),
    "personality": (135, 92, "0x0040000"),
    "a_call_that_does_not_exist": (463 + 400, 463 + 400, "0"),
}
