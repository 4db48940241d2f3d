/* Moving queued messages with a mouse, a pen, a finger or the keys. Knows: the tray's rows, where the pointer is, and where
   the keys have sent an item. Must not know: how they are edited. The order itself changes when the server says so. */

import { onFrame, queue, speak } from "./page.js";
import { send } from "./socket.js";

// So near to an edge of the tray, what is out of sight beyond it comes along; the nearer the faster.
const EDGE_PX = 32;
const FASTEST_PX_PER_S = 600;

let drag = null;

const rows = () => [...queue().querySelectorAll("[data-queued-id]")];

function end() {
  if (!drag) return;
  cancelAnimationFrame(drag.frame);
  drag.item.removeAttribute("data-local-dragged");
  drag.marked?.removeAttribute("data-local-drop");
  drag = null;
}

/** How many of the other rows lie above the pointer: the place where the item would go. */
function placeAt(y) {
  const others = rows().filter((row) => row !== drag.item);
  const above = others.filter((row) => {
    const box = row.getBoundingClientRect();
    return box.top + box.height / 2 < y;
  });
  return { position: above.length, others };
}

/** Where the item would go, as things lie now. */
function mark() {
  const { position, others } = placeAt(drag.y);
  drag.position = position;
  drag.marked?.removeAttribute("data-local-drop");
  drag.marked = position === drag.start ? null : (others[position] ?? others.at(-1));
  drag.marked?.setAttribute("data-local-drop", position < others.length ? "before" : "after");
}

/** From frame to frame, also while the pointer rests. */
function scrollAlong(now) {
  if (!drag?.item.isConnected) {
    end();
    return;
  }
  const list = drag.item.parentElement;
  const { top, bottom, height } = list.getBoundingClientRect();
  const edge = Math.min(EDGE_PX, height / 4);
  const near = Math.max(drag.y - bottom + edge, 0) - Math.max(top + edge - drag.y, 0);
  const most = (FASTEST_PX_PER_S * (now - drag.at)) / 1000;
  drag.at = now;
  // Who took an item at the edge and moves it away from there means the other direction.
  if (Math.sign(near) === Math.sign(drag.y - drag.from)) {
    list.scrollTop += Math.sign(near) * Math.ceil(most * Math.min(Math.abs(near) / edge, 1));
    mark();
  }
  drag.frame = requestAnimationFrame(scrollAlong);
}

document.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest("#queue [data-action=grip]");
  if (!grip || event.button !== 0) return;
  end();
  const item = grip.closest("[data-queued-id]");
  const [start, y] = [rows().indexOf(item), event.clientY];
  drag = { item, start, position: start, marked: null, from: y, y, at: performance.now() };
  drag.frame = requestAnimationFrame(scrollAlong);
  grip.setPointerCapture(event.pointerId);
  item.setAttribute("data-local-dragged", "");
});

document.addEventListener("pointermove", (event) => {
  if (!drag?.item.isConnected) {
    end();
    return;
  }
  drag.y = event.clientY;
  mark();
});

document.addEventListener("pointerup", () => {
  if (drag?.item.isConnected && drag.position !== drag.start) {
    send({ type: "queue_move", id: drag.item.dataset.queuedId, position: drag.position }, { outlasts: true });
  }
  end();
});
document.addEventListener("pointercancel", end);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !drag) return;
  // Not also Stop.
  event.preventDefault();
  end();
});

const SPOKEN_CHARACTERS = 40;
// Where it was sent last, until the tray shows it there: keys may come faster than the server's word.
let going = null;

const placeOf = (id) => rows().findIndex((row) => row.dataset.queuedId === id);

document.addEventListener("keydown", (event) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || event.target.dataset.action !== "grip") return;
  event.preventDefault();
  const id = event.target.closest("[data-queued-id]").dataset.queuedId;
  const position = (going?.id === id ? going.position : placeOf(id)) + step;
  if (position < 0 || position >= rows().length) return;
  going = { id, position };
  send({ type: "queue_move", id, position }, { outlasts: true });
});

document.addEventListener("agentsite:sent", (event) => {
  if (event.target.matches("#queue :is([data-action=up], [data-action=down])")) going = JSON.parse(event.target.dataset.frame);
});

onFrame((frame) => {
  if (!going || !frame.includes('id="queue"')) return;
  const place = placeOf(going.id);
  if (place === going.position) {
    rows()[place].scrollIntoView({ block: "nearest" });
    const text = rows()[place].querySelector(".item-text").textContent.slice(0, SPOKEN_CHARACTERS);
    speak(`${text}: place ${place + 1} of ${rows().length}`);
  }
  if (place === going.position || place < 0) going = null;
});
