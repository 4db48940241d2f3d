/* Moving queued messages with a mouse, a pen, a finger or the keys. Knows: the tray's rows, where the pointer is, and where
   the keys have sent an item. Must not know: how they are edited. The order itself changes when the server says so. */

import { onFrame, queue, speak } from "./page.js";
import { send } from "./socket.js";

let drag = null;

const rows = () => [...queue().querySelectorAll("[data-queued-id]")];

function end() {
  if (!drag) return;
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

document.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest("#queue [data-action=grip]");
  if (!grip || event.button !== 0) return;
  const item = grip.closest("[data-queued-id]");
  drag = { item, start: rows().indexOf(item), position: rows().indexOf(item), marked: null };
  grip.setPointerCapture(event.pointerId);
  item.setAttribute("data-local-dragged", "");
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (!drag.item.isConnected) {
    end();
    return;
  }
  const { position, others } = placeAt(event.clientY);
  drag.position = position;
  drag.marked?.removeAttribute("data-local-drop");
  drag.marked = position === drag.start ? null : (others[position] ?? others.at(-1));
  drag.marked?.setAttribute("data-local-drop", position < others.length ? "before" : "after");
});

document.addEventListener("pointerup", () => {
  if (drag?.item.isConnected && drag.position !== drag.start) {
    send({ type: "queue_move", id: drag.item.dataset.queuedId, position: drag.position });
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
  send({ type: "queue_move", id, position });
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
