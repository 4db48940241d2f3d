/* Keys that work anywhere on the page. Knows: Ctrl/⌘+K, "/", "?". Must not know: what the composer or the tray do with theirs. */

import { composerText, isCovered } from "./page.js";
import { closeDrawer, openDrawer } from "./drawer.js";

const search = document.getElementById("search");
const help = document.getElementById("help");

const isWriting = (element) => element.matches("input:not([type=radio]), textarea, select, [contenteditable]");

function toSearch() {
  // A second time: a new conversation.
  if (document.activeElement === search) {
    document.getElementById("new").requestSubmit();
    return;
  }
  openDrawer();
  search.focus();
  search.select();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && !event.shiftKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    if (!document.querySelector("dialog[open]")) toSearch();
    return;
  }
  if (isCommand || isWriting(event.target)) return;
  if (event.key === "?" && !isCovered()) {
    event.preventDefault();
    help.showModal();
  } else if (event.key === "/" && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    closeDrawer();
    composerText.focus();
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=help]");
  if (!button) return;
  button.closest("[popover]")?.hidePopover();
  help.showModal();
});

if (/Mac|iPhone|iPad/.test(navigator.platform)) {
  for (const place of document.querySelectorAll("[data-mod]")) place.textContent = "⌘";
}
