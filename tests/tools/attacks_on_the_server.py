"""Cells that attack whoever listens to them: too much output, forged messages and pictures, no end."""

from __future__ import annotations

from tests.tools.attacks import DIES, ENDS, FAILS, LASTS, LIVES, Attack

OUTPUT = (
    Attack(
        name="prints_100_mb_at_once",
        ends_as=LIVES | DIES,
        code="""
print("x" * 100000000)
""",
    ),
    Attack(
        name="prints_for_ever",
        ends_as=ENDS,
        says="cut",
        timeout_s=1,
        code="""
while True:
    print("y" * 1000)
""",
    ),
    Attack(
        name="floods_from_a_child",
        says="cut",
        timeout_s=5,
        code="""
subprocess.run(["bash", "-c", "yes & yes >&2 & sleep 1; kill %1 %2"])
""",
    ),
    Attack(
        name="raises_100_mb",
        ends_as=LIVES | DIES,
        code="""
raise ValueError("x" * 100000000)
""",
    ),
    Attack(
        name="shows_a_thousand_images",
        says="images",
        code="""
from IPython.display import Image, display
import io, matplotlib.pyplot as plt

made = io.BytesIO()
plt.figure(figsize=(1, 1))
plt.savefig(made, format="png")
plt.close()
for _ in range(1000):
    display(Image(made.getvalue()))
""",
    ),
    Attack(
        name="shows_a_png_that_is_none",
        says="left out",
        code=r"""
from IPython.display import display

display({"image/png": base64.b64encode(b"<svg onload=alert(1)>").decode()}, raw=True)
display({"image/png": "%%%"}, raw=True)
display({"image/jpeg": base64.b64encode(b"\xff\xd8\xff" + b"x" * 99).decode()}, raw=True)
""",
    ),
    Attack(
        name="shows_a_decompression_bomb",
        says="pixels",
        code=r"""
import zlib
from IPython.display import display


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


bomb = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 6, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\x00" * 10**7))
    + chunk(b"IEND", b"")
)
display({"image/png": base64.b64encode(bomb).decode()}, raw=True)
""",
    ),
    Attack(
        name="shows_deeply_nested_output",
        code="""
nested = "[" * 100000 + "]" * 100000
for kind in ("display_data", "stream", "error"):
    for body in (
        nested,
        '{"data":{"image/png":' + nested + "}}",
        '{"data":{"x":' + nested + "}}",
        '{"text":' + nested + "}",
    ):
        forge(kind, body)
value = []
for _ in range(900):
    value = [value]
value
""",
    ),
    Attack(
        name="shows_control_sequences",
        code=r"""
print("\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\x00\x08\x9b31m \ud800")
""",
    ),
)

FORGERIES = (
    Attack(
        name="forges_messages_of_other_executions",
        code="""
for kind, content in (
    ("stream", {"name": "stdout", "text": "ESCAPED"}),
    ("status", {"execution_state": "idle"}),
    ("execute_reply", {"status": "ok"}),
    ("error", {"ename": "ESCAPED"}),
):
    forge(kind, json.dumps(content), up="f" * 32)
print("still here")
""",
    ),
    Attack(
        name="forges_signatures_and_garbage",
        code=r"""
app = kernel()
up = json.dumps({"msg_id": parent()["header"]["msg_id"]}).encode()
header = json.dumps({"msg_type": "stream"}).encode()
said = json.dumps({"name": "stdout", "text": "ESCAPED"}).encode()
for frames in (
    [b"<IDS|MSG>", b"0" * 64, header, up, b"{}", said],
    [b"<IDS|MSG>"],
    [b""],
    [b"x"] * 10,
    [b"<IDS|MSG>", b"", b"\xff", b"", b"", b""],
    [b"<IDS|MSG>", b"0" * 64, b"{}", b"{}", b"{}", b"{}"],
):
    app.iopub_socket.send_multipart(frames)
""",
    ),
    Attack(
        name="forges_wrong_types",
        code="""
for kind, content in (
    ("stream", {"name": "stdin", "text": "ESCAPED"}),
    ("stream", {"name": "stdout", "text": 5}),
    ("stream", []),
    ("status", {"execution_state": {"a": 1}}),
    ("display_data", {"data": ["ESCAPED"]}),
    ("display_data", {"data": {"text/html": 7}}),
    ("error", {"traceback": "ESCAPED"}),
    ("comm_open", {"comm_id": "x", "target_name": "y", "data": {}}),
    ("input_request", {"prompt": "password?", "password": True}),
    ("shutdown_reply", {}),
    ("clear_output", {"wait": False}),
):
    forge(kind, json.dumps(content))
print("still here")
""",
    ),
    Attack(
        name="forges_its_own_end",
        code="""
forge("status", '{"execution_state": "idle"}')
time.sleep(0.2)
print("still here")
""",
    ),
    Attack(
        name="sends_a_message_that_is_too_large",
        ends_as=DIES,
        says="protocol",
        code="""
kernel().iopub_socket.send_multipart([b"x" * (64 << 20)])
time.sleep(5)
print("ESCAPED")
""",
    ),
    Attack(
        name="sends_a_message_without_end",
        ends_as=DIES,
        says="It ",
        code=r"""
for number in range(3, 100):
    try:
        raw = socket.socket(fileno=os.dup(number))
        raw.getpeername()
        raw.setblocking(True)
    except OSError:
        continue

    def flood(raw=raw):
        while True:
            raw.sendall(b"\x03" + (1 << 20).to_bytes(8, "big") + b"x" * (1 << 20))

    threading.Thread(target=flood, daemon=True).start()
time.sleep(5)
print("ESCAPED")
""",
    ),
    Attack(
        name="floods_with_small_messages",
        ends_as=ENDS,
        timeout_s=4,
        code="""
app = kernel()
while True:
    app.iopub_socket.send_multipart([b"x" * 50000])
""",
    ),
    Attack(
        name="hangs_up",
        ends_as=ENDS,
        timeout_s=2,
        code="""
os.closerange(3, 256)
time.sleep(3)
""",
    ),
    Attack(
        name="asks_for_input",
        ends_as=FAILS,
        code="""
input("password: ")
""",
    ),
)

ENDINGS = (
    Attack(
        name="sleeps_for_ever",
        ends_as=LASTS,
        timeout_s=0.3,
        code="""
time.sleep(1000)
""",
    ),
    Attack(
        name="traps_interrupts",
        ends_as=LASTS,
        timeout_s=0.3,
        code="""
while True:
    try:
        time.sleep(1000)
    except KeyboardInterrupt:
        pass
""",
    ),
    Attack(
        name="ignores_all_signals",
        ends_as=LASTS,
        timeout_s=0.3,
        code="""
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
""",
    ),
    Attack(
        name="holds_the_interpreter_lock",
        ends_as=LASTS,
        timeout_s=0.3,
        code="""
import re

re.match("(a+)+$", "a" * 60 + "b")
""",
    ),
    Attack(
        name="leaves_without_a_word",
        ends_as=DIES,
        says="ended",
        code="""
os._exit(0)
""",
    ),
    Attack(
        name="kills_itself",
        ends_as=DIES,
        says="signal 9",
        code="""
os.kill(os.getpid(), 9)
""",
    ),
    Attack(
        name="crashes",
        ends_as=DIES,
        says="signal 11",
        code="""
ctypes.string_at(0)
""",
    ),
    Attack(
        name="becomes_another_program",
        ends_as=ENDS,
        timeout_s=2,
        code="""
os.execv("/bin/sleep", ["sleep", "100"])
""",
    ),
    Attack(
        name="recurses_for_ever",
        ends_as=LIVES | ENDS,
        timeout_s=3,
        code="""
sys.setrecursionlimit(10**9)


def f():
    f()


f()
""",
    ),
)


# Files with names that would lead somewhere, or deceive; and one that is fine.
NAMES = r"""
for name in (
    "a/../../b", "..\\up", "new\nline", "rtl\u202egnp.exe", "nul\x01", "-rf", ".hidden", "<script>alert(1)<script>",
    "x" * 250, "  ", 'q"uote', "tab\t", "\u2028",
):
    try:
        open(name, "w").write("evil")
    except (OSError, ValueError) as fault:
        print("contained", fault)
open(b"\xff\xfe", "w").write("evil")
open("fine ü.txt", "w").write("good")
"""
