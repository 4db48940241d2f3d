/* Messages that were sent and that the server has not confirmed. Knows: their ids, where they are kept, when to send
   again. Must not know: the composer's keys, or how a message looks once it is confirmed.

   Each is kept under its own key until a frame names its id, so that neither a reload nor a second tab loses one;
   a repeat of the same id is one message to the server. */

import * as kept from "./kept.js";
import { conversationId, messages, newId, onFrame, queue } from "./page.js";
import { isOnline, send } from "./socket.js";

const PREFIX = `unsent.${conversationId}.`;
const AGAIN_AFTER_MS = 10_000;
// After so many times on a working connection the server won't ever confirm it.
const TRIES_MAX = 3;
const NOT_SAVED = "not_saved";

const list = document.getElementById("unsent");
const blank = document.getElementById("unsent-item").content.firstElementChild;
const unsent = new Map();
let takeBack = () => false;
let counter = 0;

/** Who takes the text and the files of a message that could not be sent; it returns whether it did. */
export function onReturn(callback) {
  takeBack = callback;
}

function keep(message) {
  unsent.set(message.id, message);
  kept.write(PREFIX + message.id, message);
}

function forget(id) {
  unsent.delete(id);
  kept.remove(PREFIX + id);
}

function transmit(message) {
  message.tries += 1;
  message.triedAt = Date.now();
  message.isUnsaved = false;
  const { id, content, delivery, attachments = [] } = message;
  const files = attachments.length > 0 ? { attachments: attachments.map((file) => file.id) } : {};
  send({ type: "user_message", id, content, delivery, ...files });
}

/** Take over a message: from here on it is not lost. */
export function post(content, delivery, attachments = []) {
  counter += 1;
  const message = { id: newId(), content, delivery, attachments, order: Date.now() + counter / 1000, tries: 0, failure: "" };
  keep(message);
  for (const notice of document.querySelectorAll('.notice[data-ref]:not([data-ref=""])')) notice.remove();
  if (isOnline()) transmit(message);
  draw();
}

/** Keep a text that has lost its place, with the reason. */
export function strand(content, failure) {
  if (takeBack(content)) return;
  keep({ id: newId(), content, delivery: "queue", order: Date.now(), tries: 0, failure });
  draw();
}

const inOrder = () => [...unsent.values()].sort((one, other) => one.order - other.order);

function flush() {
  for (const message of inOrder()) if (!message.failure) transmit(message);
  draw();
}

function fail(message, words) {
  forget(message.id);
  if (takeBack(message.content, { attachments: message.attachments })) return;
  keep({ ...message, failure: words });
}

function isOnPage(id) {
  return messages.querySelector(`[data-message-id="${id}"]`) || queue().querySelector(`[data-queued-id="${id}"]`);
}

function review(frame) {
  if (unsent.size === 0) return;
  for (const message of inOrder()) {
    const { id } = message;
    const notice = document.querySelector(`.notice[data-ref="${id}"]`);
    if (frame.includes(`data-message-id="${id}"`) || frame.includes(`data-queued-id="${id}"`)) {
      forget(id);
      notice?.remove();
    } else if (frame.includes(`data-ref="${id}"`)) {
      // The database may take it later, and the same id is one message to it, also when it was saved after all.
      message.isUnsaved = notice?.dataset.code === NOT_SAVED && message.tries < TRIES_MAX;
      if (!message.isUnsaved) fail(message, notice?.querySelector("p").textContent ?? "The server did not accept this message.");
    }
  }
  draw();
}

function wordsFor(message) {
  if (message.failure) return message.failure;
  if (message.isUnsaved) return "Not saved yet. It is sent again in a moment.";
  return isOnline() ? "Sending…" : "Will be sent as soon as you are connected.";
}

function draw() {
  list.hidden = unsent.size === 0;
  list.replaceChildren(
    ...inOrder().map((message) => {
      const item = blank.cloneNode(true);
      item.dataset.unsentId = message.id;
      item.toggleAttribute("data-failed", message.failure !== "");
      item.querySelector(".item-text").textContent = message.content;
      item.querySelector(".why").textContent = wordsFor(message);
      return item;
    }),
  );
}

function triesOf(id) {
  const { tries, triedAt } = unsent.get(id) ?? {};
  return tries === undefined ? {} : { tries, triedAt };
}

function load() {
  for (const key of kept.keys(PREFIX)) {
    const message = kept.read(key);
    if (!message?.id || isOnPage(message.id)) kept.remove(key);
    else unsent.set(message.id, { ...message, tries: 0, triedAt: Date.now(), ...triesOf(message.id) });
  }
  for (const id of [...unsent.keys()]) if (!kept.read(PREFIX + id)) unsent.delete(id);
  draw();
}

list.addEventListener("click", (event) => {
  const message = unsent.get(event.target.closest("[data-unsent-id]")?.dataset.unsentId);
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (!message || !action) return;
  if (action === "put-back" && !takeBack(message.content, { force: true, attachments: message.attachments })) return;
  forget(message.id);
  draw();
});

onFrame(review);
document.addEventListener("agentsite:online", flush);
document.addEventListener("agentsite:connection", draw);
addEventListener("storage", (event) => {
  if (event.key?.includes(PREFIX)) load();
});

setInterval(() => {
  if (!isOnline()) return;
  for (const message of inOrder()) {
    if (message.failure || Date.now() - message.triedAt < AGAIN_AFTER_MS) continue;
    if (message.tries < TRIES_MAX) transmit(message);
    else fail(message, "The server did not confirm this message.");
    draw();
  }
}, 2000);

load();
