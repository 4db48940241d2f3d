/* Copying. Knows: the clipboard, and where a block's or a message's text comes from. Must not know: what it says. */

import { tell } from "./page.js";

const SHOWN_MS = 1600;

async function messageText(button) {
  const response = await fetch(button.dataset.url);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.text();
}

/** Where the page is served without TLS, browsers leave out the clipboard; a selection still copies. */
function copyBySelection(text) {
  const place = document.createElement("textarea");
  place.value = text;
  place.className = "visually-hidden";
  document.body.append(place);
  const before = document.activeElement;
  place.select();
  const isDone = document.execCommand("copy");
  place.remove();
  before?.focus();
  if (!isDone) throw new Error("copying is not allowed");
}

async function copy(text) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyBySelection(text);
}

function confirm(button) {
  button.setAttribute("data-local-copied", "");
  const words = button.querySelector("svg") ? null : button.textContent;
  if (words !== null) button.textContent = "Copied";
  document.getElementById("spoken").textContent = "Copied";
  setTimeout(() => {
    button.removeAttribute("data-local-copied");
    if (words !== null) button.textContent = words;
    document.getElementById("spoken").textContent = "";
  }, SHOWN_MS);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-action=copy-code], [data-action=copy-message]");
  if (!button || button.hasAttribute("data-local-copied")) return;
  try {
    const isCode = button.dataset.action === "copy-code";
    await copy(isCode ? button.closest("figure").querySelector("pre").textContent : await messageText(button));
    confirm(button);
  } catch (fault) {
    tell(`Could not copy: ${fault.message}.`);
  }
});
