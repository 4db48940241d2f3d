/* Editing queued messages. Knows: the tray's markup, which item this tab edits, what was saved. Must not know: how
   the tray is brought up to date (the open editor is left alone then).

   What was saved is kept until the tray or the transcript shows it, so that a reload without a connection loses nothing. */

import * as kept from "./kept.js";
import { room } from "./length.js";
import { strand } from "./outbox.js";
import { conversationId, focusComposer, messages, onFrame, queue } from "./page.js";
import { isOnline, send } from "./socket.js";

const blank = document.getElementById("queue-editor").content.firstElementChild;
const REMEMBERED = `agentsite.editing.${conversationId}`;
const GONE = "This message left the queue while you were editing it.";
const PREFIX = `edit.${conversationId}.`;
// By id: the server may not have heard of it, or may refuse it.
const saved = new Map();

const itemOf = (element) => element.closest("[data-queued-id]");
const itemWith = (id) => queue().querySelector(`[data-queued-id="${CSS.escape(id)}"]`);
const textIn = (item) => item.querySelector(".item-text");
const textOf = (item) => textIn(item).textContent;
const editors = () => document.querySelectorAll("form.editor");

function remember(item, text) {
  try {
    sessionStorage.setItem(REMEMBERED, JSON.stringify({ id: item.dataset.queuedId, text, before: textOf(item) }));
  } catch {
    // Then a reload asks for the edit to be begun again.
  }
}

function forgetOpen() {
  try {
    sessionStorage.removeItem(REMEMBERED);
  } catch {
    // Nothing was kept, then.
  }
}

/** Whether it can be saved; says why not. */
function fits(editor) {
  const [field] = editor.elements;
  const { left, words } = room(field.value);
  field.setCustomValidity(left < 0 ? words : "");
  return field.reportValidity();
}

function open(item, { text = textOf(item), takesFocus = true } = {}) {
  if (item.querySelector("form.editor") || ![...editors()].every(fits)) return;
  const id = item.dataset.queuedId;
  if (item.dataset.edited !== "true") send({ type: "queue_hold", id, held: true });
  // One is open at a time; what was written in the other is not lost, and nothing is sent in between.
  for (const other of editors()) save(other);
  const editor = blank.cloneNode(true);
  editor.elements[0].value = text;
  item.setAttribute("data-local-editing", "");
  item.querySelector(".item-body").append(editor);
  remember(item, text);
  if (!takesFocus) return;
  editor.elements[0].focus();
  editor.elements[0].setSelectionRange(text.length, text.length);
  editor.scrollIntoView({ block: "nearest" });
}

function shut(editor) {
  itemOf(editor).removeAttribute("data-local-editing");
  editor.remove();
  forgetOpen();
}

/** Leave the item as it was. */
function close(editor) {
  const id = itemOf(editor).dataset.queuedId;
  shut(editor);
  // What was saved without a connection lets it go when it arrives, and not before.
  if (isOnline() || !saved.has(id)) send({ type: "queue_hold", id, held: false });
}

function save(editor) {
  const item = itemOf(editor);
  const id = item.dataset.queuedId;
  const content = editor.elements[0].value;
  if (content.trim() === "" || content === textOf(item)) {
    close(editor);
  } else if (fits(editor)) {
    shut(editor);
    textIn(item).textContent = content;
    saved.set(id, content);
    kept.write(PREFIX + id, content);
    if (isOnline()) send({ type: "queue_edit", id, content });
  }
}

function forget(id) {
  saved.delete(id);
  kept.remove(PREFIX + id);
}

function giveBack(id, content) {
  forget(id);
  strand(content, GONE);
}

/** Whether it arrived, as the server has just told. */
function isDone(id, content) {
  const item = itemWith(id);
  const place = item ? textIn(item) : messages.querySelector(`[data-message-id="${CSS.escape(id)}"] .content`);
  return place?.textContent === content;
}

// The first frame of a connection holds the whole tray.
document.addEventListener("agentsite:online", () => {
  for (const [id, content] of saved) {
    if (isDone(id, content)) forget(id);
    else if (itemWith(id)) send({ type: "queue_edit", id, content });
    else giveBack(id, content);
  }
});

/** Save, and go back to where one writes. */
function leave(editor) {
  save(editor);
  if (!editor.isConnected) focusComposer();
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
  leave(event.target);
});

document.addEventListener("input", (event) => {
  const editor = event.target.closest("form.editor");
  if (!editor) return;
  event.target.setCustomValidity("");
  remember(itemOf(editor), event.target.value);
});

document.addEventListener("keydown", (event) => {
  const editor = event.target.closest("form.editor");
  if (editor && event.target.matches("textarea") && !event.isComposing && event.keyCode !== 229) {
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      leave(editor);
    } else if (event.key === "Escape") {
      // Not also Stop.
      event.preventDefault();
      close(editor);
      focusComposer();
    }
  }
});

// The item that was being edited is not in the tray any more: its text must not go with it.
document.addEventListener("agentsite:editing-lost", (event) => {
  const written = event.target.querySelector("form.editor textarea").value;
  forgetOpen();
  if (written !== textOf(event.target)) strand(written, GONE);
});

onFrame((frame) => {
  for (const [id, content] of saved) {
    if (frame.includes(`data-ref="${id}"`)) giveBack(id, content);
    else if (frame.includes(`-id="${id}"`) && isDone(id, content)) forget(id);
  }
});

for (const key of kept.keys(PREFIX)) {
  const id = key.slice(PREFIX.length);
  const item = itemWith(id);
  saved.set(id, kept.read(key));
  if (item) textIn(item).textContent = saved.get(id);
}

// After a reload the edit goes on where it was, also one that the server never heard of.
try {
  const { id, text, before } = JSON.parse(sessionStorage.getItem(REMEMBERED)) ?? {};
  const item = id && itemWith(id);
  forgetOpen();
  if (item) open(item, { text, takesFocus: false });
  else if (text !== before) strand(text, GONE);
} catch {
  // Nothing was kept.
}
