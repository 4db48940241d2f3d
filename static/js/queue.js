/* Editing and moving queued messages. Knows: the tray's markup, which item this tab edits. Must not know: how the tray is
   brought up to date (the open editor is left alone then), or what the server does with the order. */

import { focusComposer, onFrame, queue } from "./page.js";
import { strand } from "./outbox.js";
import { send } from "./socket.js";

const blank = document.getElementById("queue-editor").content.firstElementChild;
const REMEMBERED = "agentsite.editing";
const GONE = "This message left the queue while you were editing it.";
// Saved here and not yet seen in the tray, by id: the server may refuse it.
const saved = new Map();

const itemOf = (element) => element.closest("[data-queued-id]");
const itemWith = (id) => queue().querySelector(`[data-queued-id="${CSS.escape(id)}"]`);
const textOf = (item) => item.querySelector(".item-text").textContent;
const editors = () => document.querySelectorAll("form.editor");

function remember(id, text) {
  try {
    if (id) sessionStorage.setItem(REMEMBERED, JSON.stringify({ id, text }));
    else sessionStorage.removeItem(REMEMBERED);
  } catch {
    // Then a reload asks for the edit to be begun again.
  }
}

function open(item, { text = textOf(item), takesFocus = true } = {}) {
  if (item.querySelector("form.editor")) return;
  const id = item.dataset.queuedId;
  if (item.dataset.edited !== "true") send({ type: "queue_hold", id, held: true });
  // One is open at a time; what was written in the other is not lost, and nothing is sent in between.
  for (const other of editors()) save(other);
  const editor = blank.cloneNode(true);
  editor.elements[0].value = text;
  item.setAttribute("data-local-editing", "");
  item.querySelector(".item-body").append(editor);
  remember(id, text);
  if (!takesFocus) return;
  editor.elements[0].focus();
  editor.elements[0].setSelectionRange(text.length, text.length);
  editor.scrollIntoView({ block: "nearest" });
}

function shut(editor) {
  itemOf(editor).removeAttribute("data-local-editing");
  editor.remove();
  remember(null);
}

/** Leave the item as it was. */
function close(editor) {
  const id = itemOf(editor).dataset.queuedId;
  shut(editor);
  send({ type: "queue_hold", id, held: false });
}

function save(editor) {
  const item = itemOf(editor);
  const id = item.dataset.queuedId;
  const content = editor.elements[0].value;
  if (content.trim() === "" || content === textOf(item)) {
    close(editor);
  } else {
    shut(editor);
    item.querySelector(".item-text").textContent = content;
    saved.set(id, content);
    send({ type: "queue_edit", id, content });
  }
}

/** Bring the last queued message back for editing. Whether there is one. */
export function editLast() {
  const items = queue().querySelectorAll("[data-queued-id]");
  if (items.length === 0) return false;
  open(items[items.length - 1]);
  return true;
}

document.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]");
  if (!action || !itemOf(action)) return;
  if (action.dataset.action === "edit") open(itemOf(action));
  if (action.dataset.action !== "cancel-edit") return;
  close(action.closest("form"));
  focusComposer();
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.editor")) return;
  event.preventDefault();
  save(event.target);
  focusComposer();
});

document.addEventListener("input", (event) => {
  const editor = event.target.closest("form.editor");
  if (editor) remember(itemOf(editor).dataset.queuedId, event.target.value);
});

document.addEventListener("keydown", (event) => {
  const editor = event.target.closest("form.editor");
  if (editor && event.target.matches("textarea") && !event.isComposing && event.keyCode !== 229) {
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      save(editor);
      focusComposer();
    } else if (event.key === "Escape") {
      // Not also Stop.
      event.preventDefault();
      close(editor);
      focusComposer();
    }
    return;
  }
  const step = { ArrowUp: "up", ArrowDown: "down" }[event.key];
  if (!step || event.target.dataset.action !== "grip") return;
  event.preventDefault();
  itemOf(event.target).querySelector(`[data-action=${step}]`).click();
});

// The item that was being edited is not in the tray any more: its text must not go with it.
document.addEventListener("agentsite:editing-lost", (event) => {
  const written = event.target.querySelector("form.editor textarea").value;
  remember(null);
  if (written !== textOf(event.target)) strand(written, GONE);
});

onFrame((frame) => {
  for (const [id, content] of saved) {
    const item = itemWith(id);
    if (frame.includes(`data-ref="${id}"`)) {
      saved.delete(id);
      strand(content, GONE);
    } else if (frame.includes(`data-queued-id="${id}"`) && item && textOf(item) === content) {
      saved.delete(id);
    }
  }
});

// After a reload the edit goes on where it was.
try {
  const { id, text } = JSON.parse(sessionStorage.getItem(REMEMBERED)) ?? {};
  const item = id && itemWith(id);
  if (item?.dataset.edited === "true") open(item, { text, takesFocus: false });
  else if (id) remember(null);
} catch {
  // Nothing was kept.
}
