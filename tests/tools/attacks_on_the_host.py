"""Cells that reach for what is outside: files, the environment, devices, the network."""

from __future__ import annotations

from tests.tools.attacks import Attack

ON_FILES = (
    Attack(
        name="reads_a_file_of_the_host",
        code="""
attempt(read, secret)
""",
    ),
    Attack(
        name="reads_the_database",
        code="""
attempt(read, database)
""",
    ),
    Attack(
        name="reads_the_project",
        code="""
attempt(read, project + "/manage.py")
attempt(os.listdir, project + "/chat/core")
""",
    ),
    Attack(
        name="reads_the_password_file",
        code="""
print("ESCAPED") if os.path.exists("/etc/shadow") and attempt(read, "/etc/shadow") else 0
try:
    print("ESCAPED" if b"root:" in read("/etc/passwd", 10000) else "contained")
except OSError:
    print("contained")
""",
    ),
    Attack(
        name="reads_another_conversations_folder",
        code="""
attempt(os.listdir, neighbour)
attempt(read, neighbour + "/own.txt")
""",
    ),
    Attack(
        name="climbs_out_with_dots",
        code="""
attempt(read, "../../../../../../.." + secret)
attempt(os.listdir, "../neighbour")
""",
    ),
    Attack(
        name="walks_the_servers_root_through_proc",
        code="""
for name in ("root", "cwd", "environ", "mem", "maps", "fd", "cmdline"):
    path = f"/proc/{server}/" + name
    try:
        got = os.listdir(path) if os.path.isdir(path) else read(path)
    except OSError:
        continue
    if name in ("root", "cwd", "fd", "mem") or marker.encode() in got:
        print("ESCAPED", name)
""",
    ),
    Attack(
        name="searches_every_environment",
        code="""
for path in glob.glob("/proc/[0-9]*/environ") + ["/proc/self/environ"]:
    try:
        got = read(path, 100000)
    except OSError:
        continue
    if marker.encode() in got:
        print("ESCAPED", path)
print("ESCAPED" if marker in str(os.environ) or "SECRET_KEY" in os.environ else "contained")
""",
    ),
    Attack(
        name="looks_for_inherited_files",
        code="""
found = []
for number in range(3, 256):
    try:
        kind = os.fstat(number).st_mode
    except OSError:
        continue
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
        found.append((number, os.readlink(f"/proc/self/fd/{number}")))
print(
    "ESCAPED" if any(("venv" not in name and "/tmp" not in name for _, name in found)) else "contained",
    found,
)
""",
    ),
    Attack(
        name="overwrites_the_python_it_runs_on",
        code="""
for path in (sys.executable, os.__file__, "/usr/bin/env", inside + "/entry.py"):
    attempt(open, path, "ab")
attempt(open, os.path.join(sys.prefix, "evil.pth"), "w")
""",
    ),
    Attack(
        name="writes_beside_its_folder",
        code="""
for path in ("/evil", "/etc/evil", "/usr/evil", "/dev/evil", "/mnt/evil", secret + ".evil"):
    attempt(open, path, "w")
""",
    ),
    Attack(
        name="changes_a_hosts_files_mode_and_times",
        code="""
for change in (
    lambda p: os.chmod(p, 0),
    lambda p: os.utime(p, (1, 1)),
    lambda p: os.truncate(p, 0),
    lambda p: os.unlink(p),
    lambda p: os.rename(p, p + "x"),
    lambda p: os.setxattr(p, "user.a", b""),
):
    try:
        change(secret)
    except OSError as fault:
        print("contained", fault)
""",
    ),
    Attack(
        name="links_to_a_file_of_the_host",
        code="""
os.symlink(secret, "linked.txt")
attempt(read, "linked.txt")
attempt(os.link, secret, "hard.txt")
os.symlink(os.path.dirname(secret), "folder")
attempt(os.listdir, "folder")
""",
    ),
    Attack(
        name="makes_device_nodes",
        code="""
attempt(os.mknod, "disk", 438 | stat.S_IFBLK, os.makedev(254, 0))
attempt(os.mknod, "mem", 438 | stat.S_IFCHR, os.makedev(1, 1))
""",
    ),
    Attack(
        name="opens_devices",
        code="""
for path in (
    "/dev/mem",
    "/dev/kmem",
    "/dev/kmsg",
    "/dev/vda",
    "/dev/sda",
    "/dev/fuse",
    "/dev/kvm",
    "/dev/net/tun",
    "/dev/loop0",
    "/dev/tty",
    "/dev/input/event0",
):
    attempt(open, path, "rb")
""",
    ),
    Attack(
        name="reads_kernel_settings",
        code="""
attempt(os.listdir, "/sys/kernel")
attempt(os.listdir, "/sys/fs/cgroup")
attempt(open, "/proc/sys/kernel/core_pattern", "w")
attempt(open, "/proc/sysrq-trigger", "w")
""",
    ),
    Attack(
        name="reads_run_and_var",
        code="""
attempt(os.listdir, "/run")
attempt(os.listdir, "/var/lib")
attempt(os.listdir, "/home")
""",
    ),
    Attack(
        name="becomes_root_with_setuid_programs",
        code=r"""
for command in (["su", "-c", "id -u"], ["mount", "-t", "tmpfs", "x", "/mnt"], ["passwd", "-d", "root"]):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    print("ESCAPED" if done.returncode == 0 else "contained", done.stderr[:80])
status = (
    dict((line.split(":\t") for line in open("/proc/self/status").read().splitlines()))
    if os.path.exists("/proc/self/status")
    else {}
)
print(
    "ESCAPED"
    if status and (int(status["CapEff"], 16) or status["NoNewPrivs"] != "1" or status["Seccomp"] != "2")
    else "contained"
)
attempt(os.setuid, 0)
print("ESCAPED" if os.getuid() == 0 else "contained")
""",
    ),
)

ON_NETWORK = (
    Attack(
        name="connects_to_the_server",
        code="""
attempt(socket.create_connection, ("127.0.0.1", port), 2)
attempt(socket.create_connection, ("::1", port), 2)
""",
    ),
    Attack(
        name="sends_udp_and_icmp",
        code="""
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1))
""",
    ),
    Attack(
        name="resolves_a_name",
        code="""
attempt(socket.getaddrinfo, "example.org", 80)
""",
    ),
    Attack(
        name="opens_every_address_family",
        code="""
for family in range(2, 46):
    for kind in (1, 2, 3, 5):
        try:
            found = socket.socket(family, kind)
        except OSError:
            continue
        print("ESCAPED", family, kind)
""",
    ),
    Attack(
        name="connects_to_a_socket_file",
        code="""
attempt(lambda: socket.socket(socket.AF_UNIX).connect(socket_file))
os.path.islink("s") or os.symlink(socket_file, "s")
attempt(lambda: socket.socket(socket.AF_UNIX).connect("s"))
""",
    ),
    Attack(
        name="connects_to_an_abstract_socket",
        code=r"""
attempt(lambda: socket.socket(socket.AF_UNIX).connect("\x00" + abstract))
""",
    ),
    Attack(
        name="sends_through_a_socket_pair",
        code="""
attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", socket_file))
""",
    ),
    Attack(
        name="downloads_with_programs",
        code="""
python = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}', timeout=2)"
for command in (
    ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"],
    ["curl", "-sm2", f"http://127.0.0.1:{port}"],
    [sys.executable, "-c", python],
):
    try:
        is_through = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        is_through = False
    print("ESCAPED" if is_through else "contained")
""",
    ),
)
