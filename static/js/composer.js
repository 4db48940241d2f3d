/* Where one writes. Knows: the text, its draft, its limit, the keys in it. Must not know: sockets, or what becomes of a
   message once the outbox has it. */

import { hasFiles, putBackFiles, takeFiles, whyNot } from "./attachments.js";
import * as kept from "./kept.js";
import { room } from "./length.js";
import { onReturn, post } from "./outbox.js";
import { composer, composerText as text, conversationId, focusComposer, isBusy, isQueueHeld } from "./page.js";
import { editLast } from "./queue.js";
import { toBottom } from "./scroll.js";
import { send } from "./socket.js";

const DRAFT = `draft.${conversationId}`;
const length = document.getElementById("length");
const canGrowItself = CSS.supports("field-sizing", "content");
// Whether what is in the composer was written in this tab; a background tab, too, thinks that it has the focus.
let isOwn = false;

function grow() {
  if (canGrowItself) return;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

function count() {
  const { left, words } = room(text.value);
  length.textContent = words;
  composer.toggleAttribute("data-too-long", left < 0);
  text.setAttribute("aria-invalid", String(left < 0));
  return left >= 0;
}

function changed() {
  grow();
  count();
  if (text.value) kept.write(DRAFT, text.value);
  else kept.remove(DRAFT);
}

/** Show a text for writing on. */
function fill(value) {
  text.value = value;
  isOwn = false;
  changed();
  text.setSelectionRange(value.length, value.length);
}

onReturn((content, { force = false, attachments = [] } = {}) => {
  if (text.value && !force) return false;
  putBackFiles(attachments);
  fill(text.value ? `${text.value}\n\n${content}` : content);
  isOwn = true;
  focusComposer();
  return true;
});

/** Why nothing was sent. The next key takes the words away. */
function nudge(words) {
  length.textContent = words;
  length.classList.remove("nudge");
  requestAnimationFrame(() => length.classList.add("nudge"));
}

function submit(delivery) {
  const content = text.value;
  const missing = whyNot() || (content.trim() === "" && hasFiles() ? "Write what the files are for." : "");
  if (missing) {
    nudge(missing);
    return;
  }
  if (content.trim() === "") {
    if (isQueueHeld()) send({ type: "queue_resume" });
    return;
  }
  if (!count()) {
    nudge(length.textContent);
    return;
  }
  fill("");
  post(content, delivery, takeFiles());
  toBottom();
}

text.addEventListener("input", () => {
  isOwn = text.value !== "";
  changed();
});

text.addEventListener("keydown", (event) => {
  // An input method's Enter chooses a word. Old engines say so by the key code alone.
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    submit((event.ctrlKey || event.metaKey) && isBusy() ? "steer" : "queue");
  } else if (event.key === "ArrowUp" && text.value === "" && editLast()) {
    event.preventDefault();
  }
});

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  submit("queue");
  focusComposer();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action=deliver], [data-action=example]");
  if (!button) return;
  if (button.dataset.action === "example") {
    fill(button.dataset.text);
    text.focus();
    return;
  }
  button.closest("[popover]").hidePopover();
  submit(button.dataset.delivery);
  focusComposer();
});

// These buttons vanish by what they do.
document.addEventListener("agentsite:sent", (event) => {
  if (!event.target.matches(".retry, [data-action=resume], [data-action=clear]")) return;
  if (event.target.dataset.action !== "clear") toBottom();
  focusComposer();
});

addEventListener("storage", (event) => {
  // A second tab on the same conversation shares the draft; what is being written here stays.
  if (event.key?.endsWith(DRAFT) && !(isOwn && document.activeElement === text)) {
    isOwn = false;
    text.value = kept.read(DRAFT) ?? "";
    grow();
    count();
  }
});

const draft = kept.read(DRAFT);
if (draft && !text.value) fill(draft);
else if (text.value) changed();
if (!location.hash) focusComposer();
