/* Notices: how many, for how long. Knows: #notices, the codes that tell nothing new, and when that of a full queue is no
   longer so. Must not know: who made them. */

import { composerText, onFrame, queue } from "./page.js";

const SHOWN_MAX = 4;
const INFO_MS = 10_000;
// The page itself already shows what these say: the second Stop of two, a press that came too late.
const NO_NEWS = new Set(["nothing_to_stop", "unchanged", "late"]);

const place = document.getElementById("notices");
const waiting = () => queue().querySelectorAll("[data-queued-id]").length;
let fullWith = 0;

function admit(notice) {
  if (NO_NEWS.has(notice.dataset.code)) {
    notice.remove();
    return;
  }
  if (notice.dataset.code === "queue_full") fullWith = waiting();
  if (notice.dataset.kind === "info" && !("undo" in notice.dataset)) setTimeout(() => notice.remove(), INFO_MS);
  for (const other of [...place.children]) {
    const isSame = other !== notice && other.querySelector("p").textContent === notice.querySelector("p").textContent;
    if (isSame || place.children.length > SHOWN_MAX) other.remove();
  }
}

new MutationObserver((changes) => {
  for (const node of changes.flatMap((change) => [...change.addedNodes])) {
    if (node.nodeType === Node.ELEMENT_NODE && node.isConnected) admit(node);
  }
}).observe(place, { childList: true });

onFrame((frame) => {
  if (!frame.includes('id="queue"') || waiting() >= fullWith) return;
  for (const notice of place.querySelectorAll("[data-code=queue_full]")) notice.remove();
});

// Those that came with the page.
for (const notice of [...place.children]) admit(notice);

place.addEventListener("click", (event) => {
  if (!event.target.closest("[data-action=dismiss]")) return;
  event.target.closest(".notice").remove();
  composerText.focus({ preventScroll: true });
});
