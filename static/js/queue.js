/* Editing queued messages. Knows: the tray's markup, which item this tab edits, what was saved, and from which text.
   Must not know: how the tray is brought up to date (the open editor is left alone then).

   What was saved is kept until the tray or the transcript shows it, so that a reload without a connection loses nothing.
   Where another text has come meanwhile, from another tab, the person decides between the two. */

import * as kept from "./kept.js";
import { room } from "./length.js";
import { strand } from "./outbox.js";
import { conversationId, focusComposer, messages, onFrame, queue, tell } from "./page.js";
import { isOnline, send } from "./socket.js";

const blank = document.getElementById("queue-editor").content.firstElementChild;
const REMEMBERED = `agentsite.editing.${conversationId}`;
const GONE = "This message left the queue while you were editing it.";
const WORDS = "This message was changed elsewhere. Save puts yours in its place, Cancel keeps what it is now:";
const CHANGED = "This message was changed elsewhere; this is what you had made of it.";
const PREFIX = `edit.${conversationId}.`;
// By id, with the text that it was made from: the server may not have heard of it, or may refuse it.
const saved = new Map();

const itemOf = (element) => element.closest("[data-queued-id]");
const itemWith = (id) => queue().querySelector(`[data-queued-id="${CSS.escape(id)}"]`);
const textIn = (item) => item.querySelector(".item-text");
const textOf = (item) => textIn(item).textContent;
const placeOfOther = (editor) => editor.querySelector(".elsewhere");
const editors = () => document.querySelectorAll("form.editor");

function remember(editor) {
  const [{ value: text, defaultValue: before }] = editor.elements;
  try {
    sessionStorage.setItem(REMEMBERED, JSON.stringify({ id: itemOf(editor).dataset.queuedId, text, before }));
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

/** Whether it may be left for another, which saves it: not before the person has decided between two texts. */
function isDecided(editor) {
  if (placeOfOther(editor).textContent === "") return true;
  editor.elements[0].focus();
  return false;
}

function hold(item) {
  if (item.dataset.edited !== "true") send({ type: "queue_hold", id: item.dataset.queuedId, held: true });
}

/** Look whether the item is still the one that the draft was made from, and say when it is not. */
function compare(editor) {
  const item = itemOf(editor);
  const [field] = editor.elements;
  const now = textOf(item);
  if (saved.has(item.dataset.queuedId) || now === placeOfOther(editor).querySelector("q")?.textContent) return;
  // Nothing was written here, or the same.
  if (field.value === field.defaultValue) field.value = now;
  if (field.value === now) field.defaultValue = now;
  remember(editor);
  const isOther = now !== field.defaultValue;
  const other = Object.assign(document.createElement("q"), { textContent: now, dir: "auto" });
  placeOfOther(editor).replaceChildren(...(isOther ? [WORDS, other] : []));
  if (!isOther) return;
  // Who saved it let it go.
  hold(item);
  editor.scrollIntoView({ block: "nearest" });
}

function open(item, { text = textOf(item), before = textOf(item), takesFocus = true } = {}) {
  if (item.querySelector("form.editor") || ![...editors()].every((other) => isDecided(other) && fits(other))) return;
  hold(item);
  // One is open at a time; what was written in the other is not lost, and nothing is sent in between.
  for (const other of editors()) save(other);
  const editor = blank.cloneNode(true);
  editor.elements[0].defaultValue = before;
  editor.elements[0].value = text;
  item.setAttribute("data-local-editing", "");
  item.querySelector(".item-body").append(editor);
  remember(editor);
  compare(editor);
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
    const edit = { content, before: saved.get(id)?.before ?? textOf(item) };
    textIn(item).textContent = content;
    saved.set(id, edit);
    kept.write(PREFIX + id, edit);
    if (isOnline()) send({ type: "queue_edit", id, content });
  }
}

function forget(id) {
  saved.delete(id);
  kept.remove(PREFIX + id);
}

function giveBack(id, content, why = GONE) {
  forget(id);
  strand(content, why);
}

/** Whether it arrived, as the server has just told. */
function isDone(id, content) {
  const item = itemWith(id);
  const place = item ? textIn(item) : messages.querySelector(`[data-message-id="${CSS.escape(id)}"] .content`);
  return place?.textContent === content;
}

// The first frame of a connection holds the whole tray.
document.addEventListener("agentsite:online", () => {
  for (const [id, { content, before }] of saved) {
    const item = itemWith(id);
    if (isDone(id, content)) {
      forget(id);
    } else if (!item) {
      giveBack(id, content);
    } else if (textOf(item) === before) {
      send({ type: "queue_edit", id, content });
    } else if (editors().length > 0) {
      giveBack(id, content, CHANGED);
    } else {
      forget(id);
      open(item, { text: content, before, takesFocus: false });
    }
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

// Without a connection nothing else would be seen of it, and it would be pressed again.
document.addEventListener("agentsite:sent", (event) => {
  if (isOnline() || !event.target.matches("#queue [data-action=remove]")) return;
  event.target.setAttribute("aria-disabled", "true");
  itemOf(event.target).setAttribute("data-local-leaving", "");
  tell("Will be removed as soon as you are connected.");
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
  remember(editor);
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
  for (const [id, { content }] of saved) {
    if (frame.includes(`data-ref="${id}"`)) giveBack(id, content);
    else if (frame.includes(`-id="${id}"`) && isDone(id, content)) forget(id);
  }
  if (frame.includes('id="queue"')) for (const editor of editors()) compare(editor);
});

for (const key of kept.keys(PREFIX)) {
  const id = key.slice(PREFIX.length);
  const item = itemWith(id);
  saved.set(id, kept.read(key));
  if (item) textIn(item).textContent = saved.get(id).content;
}

// After a reload the edit goes on where it was, also one that the server never heard of.
try {
  const { id, text, before } = JSON.parse(sessionStorage.getItem(REMEMBERED)) ?? {};
  const item = id && itemWith(id);
  forgetOpen();
  if (item) open(item, { text, before, takesFocus: false });
  else if (text !== before) strand(text, GONE);
} catch {
  // Nothing was kept.
}
