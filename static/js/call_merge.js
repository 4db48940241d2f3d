/* Brings the cards of tool calls up to date. A decision that is still open stays the very element that it was, so that what
   is being written on it, and the focus, stay too. Knows: the cards' markup. Must not know: sockets, or what a decision is. */

import { onFrame } from "./page.js";

const SCROLLS = ".call-body, .call-edit, .call-output, .call-result, .call-table, .code pre, textarea";
let later = [];

const isOpen = (card) => card.dataset.waits === "true";

function isSame(present, fresh) {
  const names = ["callState", "digest"];
  return isOpen(present) && isOpen(fresh) && names.every((name) => present.dataset[name] === fresh.dataset[name]);
}

/** Scroll positions come back once the element lies in the page again. */
function keepScroll(present, fresh) {
  const after = fresh.querySelectorAll(SCROLLS);
  present.querySelectorAll(SCROLLS).forEach((place, n) => {
    const { scrollTop: top, scrollLeft: left } = place;
    if (top || left) later.push(() => after[n]?.scrollTo({ top, left, behavior: "instant" }));
  });
}

/** What a reader has folded or unfolded stays so; the rest follows the server. */
function keepView(present, fresh) {
  for (const details of fresh.querySelectorAll("details[id]")) {
    const before = present.querySelector(`#${CSS.escape(details.id)}`);
    if (!before?.hasAttribute("data-local-chosen")) continue;
    details.open = before.open;
    details.setAttribute("data-local-chosen", "");
  }
  const output = present.querySelector(".call-output[data-local-held]");
  const next = fresh.querySelector(".call-output");
  if (!output || !next) return;
  next.setAttribute("data-local-held", "");
  const { scrollTop: top } = output;
  later.push(() => next.scrollTo({ top, behavior: "instant" }));
}

/** A card that comes anew. Returns the one that is to lie in the page. */
export function mergeCall(present, fresh) {
  if (isSame(present, fresh)) return present;
  keepView(present, fresh);
  present.replaceWith(fresh);
  return fresh;
}

/** The same for the cards inside of something that is replaced as a whole. No card ever leaves its message. */
export function carryCalls(before, after) {
  for (const present of before.querySelectorAll(".call")) {
    const fresh = after.querySelector(`#${CSS.escape(present.id)}`);
    const home = after.querySelector(`#${CSS.escape(present.parentElement.id)}`);
    if (fresh && !isSame(present, fresh)) {
      keepView(present, fresh);
      continue;
    }
    if (!fresh && !home) continue;
    keepScroll(present, present);
    if (fresh) fresh.replaceWith(present);
    else home.append(present);
  }
}

onFrame(() => {
  for (const restore of later) restore();
  later = [];
});
