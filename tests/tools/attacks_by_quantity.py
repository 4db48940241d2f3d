"""Cells that take as much as there is: processes, memory, disk, files."""

from __future__ import annotations

from tests.tools.attacks import DIES, ENDS, FAILS, LIVES, Attack

BOMBS = (
    Attack(
        name="fork_bomb",
        ends_as=LIVES | ENDS,
        timeout_s=1.5,
        code="""
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
""",
    ),
    Attack(
        name="shell_fork_bomb",
        ends_as=LIVES | ENDS,
        timeout_s=2,
        code="""
subprocess.run(["bash", "-c", "f() { f | f & }; f; sleep 1"], capture_output=True)
""",
    ),
    Attack(
        name="thread_bomb",
        ends_as=LIVES | ENDS,
        code="""
def go():
    try:
        threading.Thread(target=time.sleep, args=(1,)).start()
    except RuntimeError:
        return False
    return True


while go():
    pass
print("ESCAPED" if threading.active_count() > 60 else "contained")
""",
    ),
    Attack(
        name="zombie_bomb",
        code="""
made = 0
try:
    while made < 500:
        if os.fork() == 0:
            os._exit(0)
        made += 1
except OSError:
    pass
print("ESCAPED" if made > 60 else "contained", made)
try:
    while True:
        os.waitpid(-1, 0)
except OSError:
    pass
""",
    ),
    Attack(
        name="memory_in_one_piece",
        code="""
attempt(bytearray, 3 << 30)
""",
    ),
    Attack(
        name="memory_in_small_pieces",
        ends_as=DIES | FAILS,
        code="""
hoard = []
while True:
    hoard.append(os.urandom(1 << 20))
""",
    ),
    Attack(
        name="memory_in_many_processes",
        ends_as=DIES,
        says="memory",
        code="""
for _ in range(8):
    if os.fork() == 0:
        hoard = bytearray(os.urandom(1 << 20) * 120)
        time.sleep(60)
time.sleep(8)
print("ESCAPED")
""",
    ),
    Attack(
        name="memory_in_tmp",
        code="""
attempt(lambda: [open(f"/tmp/{i}", "wb").write(b"x" * (8 << 20)) for i in range(100)])
for path in glob.glob("/tmp/[0-9]*"):
    os.unlink(path)
""",
    ),
    Attack(
        name="memory_in_shared_memory",
        code="""
attempt(lambda: [open(f"/dev/shm/{i}", "wb").write(b"x" * (8 << 20)) for i in range(100)])
for path in glob.glob("/dev/shm/[0-9]*"):
    os.unlink(path)
""",
    ),
    Attack(
        name="memory_in_pipes",
        code="""
import fcntl

held, ends = (0, [])
try:
    while held < 1 << 30:
        r, w = os.pipe()
        ends += [r, w]
        try:
            size = fcntl.fcntl(w, 1031, 1 << 20)
        except OSError:
            size = 4096
        os.set_blocking(w, False)
        held += os.write(w, b"x" * size)
except OSError:
    pass
print("ESCAPED" if held > 150 << 20 else "contained", held)
[os.close(end) for end in ends]
""",
    ),
    Attack(
        name="file_descriptors",
        code="""
files = []
try:
    while len(files) < 5000:
        files.append(os.open("/dev/null", 0))
except OSError:
    pass
print("ESCAPED" if len(files) > 300 else "contained")
[os.close(file) for file in files]
""",
    ),
    Attack(
        name="disk_in_one_file",
        ends_as=LIVES | DIES,
        code="""
with open("big", "wb") as file:
    attempt(lambda: [file.write(b"x" * (1 << 20)) for _ in range(200)])
os.unlink("big")
""",
    ),
    Attack(
        name="disk_in_many_files",
        ends_as=DIES,
        says="MB in the work folder",
        code="""
for i in range(10000):
    with open(f"big{i}", "wb") as file:
        file.write(b"x" * (4 << 20))
print("ESCAPED")
""",
    ),
    Attack(
        name="disk_by_a_child_that_stays",
        ends_as=DIES,
        says="MB in the work folder",
        code="""
subprocess.Popen(["bash", "-c", "for i in $(seq 99); do head -c 4000000 /dev/zero > s$i; done; sleep 30"])
time.sleep(8)
print("ESCAPED")
""",
    ),
    Attack(
        name="disk_preallocated",
        code="""
file = open("pre", "wb")
attempt(os.posix_fallocate, file.fileno(), 0, 1 << 40)
""",
    ),
    Attack(
        name="sparse_file",
        code="""
with open("sparse", "wb") as file:
    attempt(os.truncate, file.fileno(), 1 << 42)
""",
    ),
    Attack(
        name="many_tiny_files",
        ends_as=DIES,
        says="files in the work folder",
        code="""
for i in range(200000):
    open(f"tiny{i}", "wb").close()
print("ESCAPED")
""",
    ),
    Attack(
        name="deep_folders",
        ends_as=LIVES | DIES,
        says="folders within each other",
        code="""
for i in range(1200):
    os.mkdir("d")
    os.chdir("d")
os.chdir("/tmp")
""",
    ),
    Attack(
        name="folders_without_rights",
        code="""
os.makedirs("locked/inner", exist_ok=True)
open("locked/inner/f", "w").close()
os.chmod("locked/inner", 0)
os.chmod("locked", 0)
""",
    ),
)
