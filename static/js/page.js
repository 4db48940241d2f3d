/* The fixed points of the page. Knows: ids of elements that are never replaced, and what the server says on them.
   Must not know: sockets, or what any part does. */

export const conversation = document.getElementById("conversation");
export const conversationId = conversation.dataset.conversationId;
export const messages = document.getElementById("messages");
export const composer = document.getElementById("composer");
export const composerText = composer.elements.content;

export const isBusy = () => conversation.dataset.phase !== "idle";
export const queue = () => document.getElementById("queue");
export const isQueueHeld = () => queue().dataset.held !== "" && !queue().hidden;

/** Focus comes back to where one writes, except where that would bring up a keyboard on the glass. */
export function focusComposer() {
  if (matchMedia("(pointer: fine)").matches) composerText.focus({ preventScroll: true });
}

/** Whether something lies over the page that has its own Escape. */
export const isCovered = () => document.querySelector("dialog[open], :popover-open, body[data-drawer=open]") !== null;

/** Something to tell the person in this tab, in words of the page itself. */
export function tell(words) {
  const notice = document.getElementById("plain-notice").content.firstElementChild.cloneNode(true);
  notice.querySelector("p").textContent = words;
  document.getElementById("notices").append(notice);
}

/** Something for those alone who hear the page. */
export function speak(words) {
  document.getElementById("spoken").textContent = words;
}

/** Calls back after each frame of the socket was swapped in, with its text. */
export function onFrame(callback) {
  document.addEventListener("htmx:wsAfterMessage", (event) => callback(event.detail.message));
}

/** Calls back when the phase changes, with the new and the old one. */
export function onPhase(callback) {
  let last = conversation.dataset.phase;
  new MutationObserver(() => {
    const phase = conversation.dataset.phase;
    if (phase === last) return;
    const before = last;
    last = phase;
    callback(phase, before);
  }).observe(conversation, { attributeFilter: ["data-phase"] });
}

/** A UUID, also on plain-http addresses, where browsers leave out crypto.randomUUID. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
