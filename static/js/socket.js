/* The connection: opening it, noticing that it died, coming back. Knows: htmx's socket extension, close codes, data-seq, and
   that the first socket may have been opened before any module was there.
   Must not know: what frames mean, or how the connection's state is shown.

   Tells by events on the document: `agentsite:connection` {state, dueAt, end} and `agentsite:online`. */

import { conversation, conversationId } from "./page.js";

const HEARTBEAT_MS = 25_000;
const ANSWER_WITHIN_MS = 10_000;
const DELAY_MIN_MS = 500;
const DELAY_MAX_MS = 15_000;
// The server said that there are too many sockets or frames: no use in asking again at once.
const CROWDED_DELAY_MS = 5_000;
const CROWDED = 4429;
const FINAL = { 4401: "logged-out", 4403: "refused", 4404: "gone" };
// The extension would come back by itself, at times that nobody could show; as late as timers go.
const NEVER_MS = 2 ** 31 - 1;

let socket = null;
let wrapper = null;
let state = "connecting";
let attempt = 0;
let timer = 0;
let heardAt = Date.now();
let answerDueAt = 0;
// Sent as soon as there is a connection. What would be missed after a reload outlasts the page.
const KEPT = `agentsite.waiting.${conversationId}`;
const waiting = [];
try {
  waiting.push(...(JSON.parse(sessionStorage.getItem(KEPT)) ?? []));
} catch {
  // Nothing was kept.
}

function keepWaiting() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(waiting.filter((one) => one.outlasts)));
  } catch {
    // Then a reload without a connection loses it.
  }
}

htmx.config.wsReconnectDelay = () => NEVER_MS;
htmx.createWebSocket = (url) => {
  const before = socket;
  socket = null;
  before?.close();
  socket = window.openedSocket?.take() ?? new WebSocket(`${url}?after=${conversation.dataset.seq}`);
  answerDueAt = Date.now() + ANSWER_WITHIN_MS;
  return socket;
};

function become(next, { dueAt = null, end = null } = {}) {
  state = next;
  document.dispatchEvent(new CustomEvent("agentsite:connection", { detail: { state, dueAt, end } }));
}

/** Send a frame now, or as soon as there is a connection; one that `outlasts` the page, also from the next one. */
export function send(frame, { outlasts = false } = {}) {
  if (state === "online" && socket?.readyState === WebSocket.OPEN) {
    wrapper.sendImmediately(JSON.stringify(frame));
  } else {
    waiting.push({ frame, outlasts });
    if (outlasts) keepWaiting();
  }
}

export const isOnline = () => state === "online";

export function reconnect() {
  if (state === "online" || isFinal()) return;
  clearTimeout(timer);
  if (!wrapper) {
    // The first socket has neither opened nor closed yet.
    timer = setTimeout(reconnect, DELAY_MIN_MS);
    return;
  }
  become("connecting");
  wrapper.reconnect();
}

let end = null;
const isFinal = () => end !== null;

function lost(code) {
  answerDueAt = 0;
  end = FINAL[code] ?? null;
  if (isFinal()) {
    become("offline", { end });
    return;
  }
  const ceiling = Math.min(DELAY_MAX_MS, 2 * DELAY_MIN_MS * 2 ** attempt);
  const floor = code === CROWDED ? CROWDED_DELAY_MS : DELAY_MIN_MS;
  // Jitter over the whole span: those whom one restart cut off don't come back together.
  const delay = floor + Math.random() * Math.max(ceiling - floor, DELAY_MIN_MS);
  attempt += 1;
  clearTimeout(timer);
  timer = setTimeout(reconnect, delay);
  become("offline", { dueAt: Date.now() + delay });
}

function giveUp() {
  const dead = socket;
  socket = null;
  dead?.close();
  lost(0);
}

function heard() {
  heardAt = Date.now();
  answerDueAt = 0;
  if (state === "online") return;
  attempt = 0;
  become("online");
  for (const { frame } of waiting.splice(0)) send(frame);
  keepWaiting();
  document.dispatchEvent(new CustomEvent("agentsite:online"));
}

function ask() {
  if (state !== "online") return;
  send({ type: "sync", after: Number(conversation.dataset.seq) });
  heardAt = Date.now();
  answerDueAt ||= Date.now() + ANSWER_WITHIN_MS;
}

document.addEventListener("htmx:wsOpen", (event) => {
  wrapper = event.detail.socketWrapper;
});
document.addEventListener("htmx:wsClose", (event) => {
  wrapper = event.detail.socketWrapper;
  if (event.detail.event.target === socket) lost(event.detail.event.code);
});
// Open is not yet let in: a refusal comes as a close code after it. The first frame says that we are.
document.addEventListener("htmx:wsAfterMessage", heard);

setInterval(() => {
  const now = Date.now();
  if (answerDueAt && now > answerDueAt && state !== "offline") giveUp();
  else if (now - heardAt >= HEARTBEAT_MS) ask();
}, 1000);

addEventListener("online", reconnect);
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  if (socket?.readyState === WebSocket.OPEN) ask();
  else reconnect();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  if (state === "offline") reconnect();
  else ask();
});

/** Buttons say what they want: <button data-frame='{"type":"stop"}'>, and whether it `data-outlasts` the page. */
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-frame]");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  send(JSON.parse(button.dataset.frame), { outlasts: button.hasAttribute("data-outlasts") });
  button.dispatchEvent(new CustomEvent("agentsite:sent", { bubbles: true }));
});
