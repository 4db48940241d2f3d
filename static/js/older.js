/* Older messages, and the way to a message by its address. Knows: #older, positions, the address's hash.
   Must not know: how the page follows new text. */

import { messages } from "./page.js";
import { holdPlace, letGo } from "./scroll.js";

const scroller = document.getElementById("scroller");
const older = () => document.querySelector("#older button");

let putBack = () => {};
let hadFocus = false;

document.addEventListener("htmx:beforeSwap", (event) => {
  const button = event.detail.requestConfig?.elt;
  if (!button?.closest("#older")) return;
  // The transcript may have been drawn anew since this was asked for.
  if (button.dataset.before !== messages.firstElementChild?.dataset.position) event.detail.shouldSwap = false;
  putBack = event.detail.shouldSwap ? holdPlace() : () => {};
  hadFocus = button === document.activeElement;
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (!event.detail.requestConfig?.elt?.dataset.before) return;
  putBack();
  if (hadFocus) (older() ?? scroller).focus({ preventScroll: true });
});

// Comes by itself when the reader gets near the beginning; the button stays for the keyboard.
const watcher = new IntersectionObserver(
  (entries) => {
    if (entries.some((entry) => entry.isIntersecting)) older()?.click();
  },
  { root: scroller, rootMargin: "300px 0px 0px 0px" },
);
const watch = () => {
  const place = document.getElementById("older");
  watcher.disconnect();
  if (place && !place.hidden) watcher.observe(place);
};
document.addEventListener("htmx:afterSettle", watch);
document.addEventListener("htmx:wsAfterMessage", (event) => {
  if (event.detail.message.includes('id="older"')) watch();
});

// Ends with the request itself: its button, and with it htmx's events, may have left the page by then.
let underWay = null;
document.addEventListener("htmx:beforeSend", (event) => {
  const { elt, xhr } = event.detail;
  if (!elt.closest("#older")) return;
  underWay = new Promise((resolve) => {
    // A new button can be pressed once htmx has settled.
    xhr.addEventListener("loadend", () => setTimeout(resolve, htmx.config.defaultSettleDelay));
  });
});

/** Whether another page may follow: the old one's button has made way, for the answer or for a transcript drawn anew. */
async function nextPage() {
  const button = older();
  button.click();
  await underWay;
  return older() !== button;
}

/** Go to the message that the address names, however far back it is. */
async function toAddressed() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (!/^m-[0-9a-f]{16}$/.test(id)) return;
  letGo();
  while (!document.getElementById(id) && older()) {
    if (!(await nextPage())) break;
  }
  const found = document.getElementById(id);
  if (!found) return;
  letGo();
  (found.getClientRects().length > 0 ? found : found.querySelector(".content")).scrollIntoView({ block: "center" });
  found.setAttribute("data-local-found", "");
  setTimeout(() => found.removeAttribute("data-local-found"), 2500);
}

addEventListener("hashchange", toAddressed);
document.addEventListener("DOMContentLoaded", () => {
  watch();
  toAddressed();
});
