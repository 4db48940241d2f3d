/* Moving queued messages with a mouse, a pen or a finger. Knows: the tray's rows and where the pointer is.
   Must not know: what the items say. The order itself changes when the server says so. */

import { queue } from "./page.js";
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
