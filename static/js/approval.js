/* Decisions on tool calls. Knows: the buttons and panels of a card that waits, what was sent, how a card is found again.
   Must not know: sockets beyond being connected, tools, or what the arguments say. */

import { conversation, focusComposer, isCovered, messages, onFrame } from "./page.js";
import { toBottom } from "./scroll.js";
import { isOnline } from "./socket.js";

// A click that was on its way to something else when the card came must not approve it.
const GUARD_MS = 400;
const ANSWER_WITHIN_MS = 10_000;
const DECISIONS = ["approve", "approve-changes", "approve-always", "reject", "run-again", "continue"];
const WAITING = '.call[data-waits="true"]';

const scroller = document.getElementById("scroller");
const reading = scroller.parentElement;
const pill = document.getElementById("to-approval");
// By call: whether there was a connection when the decision was sent.
const sent = new Map();

const cardOf = (element) => element.closest(".call");
const cards = () => [...messages.querySelectorAll(WAITING)];
const cardWith = (id) => messages.querySelector(`${WAITING}[data-call-id="${CSS.escape(id)}"]`);

let guard = 0;

/** For a moment the pointer can't say yes; keys and assistive technology, which name what they press, can. */
function beware() {
  clearTimeout(guard);
  messages.setAttribute("data-local-guard", "");
  guard = setTimeout(() => messages.removeAttribute("data-local-guard"), GUARD_MS);
}

function openPanel(card, name) {
  card.setAttribute("data-local-panel", name);
  mark(card, name);
  beware();
  const first = { edit: ".call-edit textarea", reason: "[name=reason]", allow: "[data-of=allow] > p" }[name];
  const place = card.querySelector(first);
  place.focus({ preventScroll: true });
  // On a low screen the card does not show all of itself.
  for (const element of [card, place]) element.scrollIntoView({ block: "nearest" });
}

function closePanel(card) {
  const name = card.getAttribute("data-local-panel");
  card.removeAttribute("data-local-panel");
  mark(card, "");
  beware();
  card.querySelector(`[data-action=call-panel][data-panel=${name}]`)?.focus({ preventScroll: true });
  tellReason(card);
}

function mark(card, name) {
  for (const button of card.querySelectorAll("[data-action=call-panel]")) {
    button.setAttribute("aria-expanded", String(button.dataset.panel === name));
  }
}

/** The reason goes with Reject while one sees it. */
function tellReason(card) {
  const reason = card.getAttribute("data-local-panel") === "reason" && card.querySelector("[name=reason]").value.trim();
  const frame = { type: "reject", call_id: card.dataset.callId, ...(reason ? { reason } : {}) };
  card.querySelector("[data-action=reject]").dataset.frame = JSON.stringify(frame);
}

messages.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button?.dataset.action === "close-call-panel") closePanel(cardOf(button));
  if (button?.dataset.action !== "call-panel") return;
  const card = cardOf(button);
  if (card.getAttribute("data-local-panel") === button.dataset.panel) closePanel(card);
  else openPanel(card, button.dataset.panel);
  tellReason(card);
});

messages.addEventListener("input", (event) => {
  if (event.target.name === "reason") tellReason(cardOf(event.target));
});

messages.addEventListener("keydown", (event) => {
  if (event.target.name !== "reason" || event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  cardOf(event.target).querySelector("[data-action=reject]").click();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || isCovered()) return;
  const card = cardOf(event.target) ?? messages.querySelector(`${WAITING}[data-local-panel]`);
  if (!card?.hasAttribute("data-local-panel")) return;
  // Not also Stop.
  event.preventDefault();
  closePanel(card);
});

// One click, one frame: the buttons rest until the server has answered.
function rest(card, words) {
  for (const button of card.querySelectorAll(".call-decide button")) button.disabled = true;
  card.querySelector(".call-sent").textContent = words;
}

function wake(id) {
  sent.delete(id);
  const card = cardWith(id);
  if (!card) return;
  for (const button of card.querySelectorAll(".call-decide button")) button.disabled = false;
  card.querySelector(".call-sent").textContent = "";
}

function expectAnswer(id) {
  setTimeout(() => sent.get(id) && isOnline() && wake(id), ANSWER_WITHIN_MS);
}

document.addEventListener("agentsite:sent", (event) => {
  if (!DECISIONS.includes(event.target.dataset.action)) return;
  const card = cardOf(event.target);
  const id = card.dataset.callId;
  sent.set(id, isOnline());
  document.querySelector(`.notice[data-ref="${id}"]`)?.remove();
  rest(card, isOnline() ? "Sending…" : "Will be sent as soon as you are connected.");
  beware();
  expectAnswer(id);
  const next = cards().find((other) => !sent.has(other.dataset.callId));
  if (next) {
    next.focus({ preventScroll: true });
    return;
  }
  toBottom();
  focusComposer();
});

// What was on its way when the connection broke may not have arrived; deciding twice is once to the server.
document.addEventListener("agentsite:online", () => {
  for (const [id, wasOnline] of [...sent]) {
    if (wasOnline) {
      wake(id);
    } else {
      sent.set(id, true);
      expectAnswer(id);
    }
  }
});

onFrame((frame) => {
  for (const id of [...sent.keys()]) {
    if (frame.includes(`data-ref="${id}"`)) wake(id);
    else if (!cardWith(id)) sent.delete(id);
  }
  if (!frame.includes("data-waits")) return;
  beware();
  watch();
});

// The way to a card that is out of sight, and room for the one that is pinned.
const seen = new Set();
const sights = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target);
    drawPill();
  },
  { root: scroller, threshold: 0.2 },
);
const sizes = new ResizeObserver(() => {
  const height = cards()[0]?.offsetHeight ?? 0;
  reading.style.setProperty("--pinned", `${height}px`);
});

function drawPill() {
  const waiting = cards();
  const isUnknown = waiting[0]?.dataset.callState === "unknown";
  const isForStaff = waiting.length > 0 && waiting.every((card) => card.hasAttribute("data-for-staff"));
  const asked = isForStaff ? "Waits for staff" : "Approval needed";
  pill.querySelector(".pill-words").textContent = isUnknown ? "Decision needed" : asked;
  pill.hidden = waiting.length === 0;
  // In sight it is still the shortest way there with the keyboard.
  pill.toggleAttribute("data-local-seen", waiting.some((card) => seen.has(card)));
}

function watch() {
  sights.disconnect();
  sizes.disconnect();
  seen.clear();
  const waiting = cards();
  for (const card of waiting) sights.observe(card);
  if (waiting.length > 0) sizes.observe(waiting[0]);
  else reading.style.removeProperty("--pinned");
  drawPill();
}

pill.addEventListener("click", () => {
  const card = cards()[0];
  card?.scrollIntoView({ block: "nearest" });
  card?.focus({ preventScroll: true });
});

new MutationObserver(watch).observe(conversation, { attributeFilter: ["data-phase"] });
beware();
watch();
