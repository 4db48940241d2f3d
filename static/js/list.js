/* The list of conversations. Knows: its entries, which one is open, rename and delete. Must not know: how the list is kept
   up to date. Entries come without a mark of the open one, since one fragment serves every tab. */

import { conversationId, onFrame } from "./page.js";
import { openMenu } from "./menus.js";

const UNDO_MS = 10_000;
const menu = document.getElementById("entry-menu");
const dialog = document.getElementById("rename-dialog");
const search = document.getElementById("search");
const undoNotice = document.getElementById("undo-notice").content.firstElementChild;
let isLeaving = false;

function mark() {
  const link = document.querySelector(`[id="c-${conversationId}"] > a`);
  for (const other of document.querySelectorAll("#conversations a[aria-current]")) {
    if (other !== link) other.removeAttribute("aria-current");
  }
  if (link && !link.hasAttribute("aria-current")) link.setAttribute("aria-current", "page");
}

function offerUndo(id, title, then) {
  const notice = undoNotice.cloneNode(true);
  const name = document.createElement("bdi");
  name.textContent = title;
  notice.querySelector("p").replaceChildren("“", name, "” was deleted.");
  const form = notice.querySelector("form");
  form.action = `/c/${id}/restore/`;
  if (then) form.dataset.then = then;
  document.getElementById("notices").append(notice);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=entry-menu], [data-action=entry-rename]");
  if (!button) return;
  if (button.dataset.action === "entry-menu") {
    const entry = button.closest("li");
    menu.dataset.id = entry.dataset.conversationId;
    menu.dataset.title = entry.querySelector(".name").textContent;
    menu.querySelector("form").action = `/c/${menu.dataset.id}/delete/`;
    openMenu(menu, button);
    return;
  }
  menu.hidePopover();
  const form = dialog.querySelector("form");
  form.action = `/c/${menu.dataset.id}/rename/`;
  form.elements.title.value = menu.dataset.title;
  dialog.showModal();
  form.elements.title.select();
});

document.addEventListener("agentsite:done", (event) => {
  const form = event.target;
  form.closest("dialog")?.close();
  form.closest("[data-undo]")?.remove();
  if (form.dataset.actionOf !== "delete") return;
  form.closest("[popover]").hidePopover();
  const id = form.action.match(/\/c\/([^/]+)\/delete\//)[1];
  if (id === conversationId) {
    isLeaving = true;
    location.assign(`/?deleted=${id}`);
  } else {
    offerUndo(id, menu.dataset.title);
  }
});

new MutationObserver((changes) => {
  for (const notice of changes.flatMap((change) => [...change.addedNodes])) {
    if (notice.matches?.("[data-undo]")) setTimeout(() => notice.remove(), UNDO_MS);
  }
}).observe(document.getElementById("notices"), { childList: true });
for (const notice of document.querySelectorAll("#notices [data-undo]")) setTimeout(() => notice.remove(), UNDO_MS);
if (new URLSearchParams(location.search).has("deleted")) history.replaceState(null, "", location.pathname);

onFrame((frame) => {
  if (!frame.includes('id="c-') && !frame.includes('id="conversations"')) return;
  mark();
  if (isLeaving || !frame.includes(`id="c-${conversationId}" hx-swap-oob="delete"`)) return;
  offerUndo(conversationId, document.getElementById("title").textContent);
});

// Up and down go through the search and the lines under it.
document.getElementById("sidebar").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.matches("#search, .entry > a")) return;
  const stops = [search, ...document.querySelectorAll(".entry > a")].filter((one) => one.checkVisibility());
  const next = stops[stops.indexOf(event.target) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

search.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && search.value) {
    event.preventDefault();
    search.value = "";
    search.dispatchEvent(new Event("search", { bubbles: true }));
  } else if (event.key === "Enter") {
    document.querySelector("#found .entry > a")?.click();
  }
});
