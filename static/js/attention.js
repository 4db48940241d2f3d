/* For a tab that is out of sight: a mark in its title, and a notification where the person asked for it.
   Knows: phases, the status line, the title, the Notification API. Must not know: what was said, or how one decides. */

import * as kept from "./kept.js";
import { conversation, conversationId, onFrame, onPhase } from "./page.js";

const WANTED = "notify";
const SITE = "Agentsite";
const button = document.querySelector("[data-action=notify]");
let isUnseen = false;
let shown = null;

const name = () => document.getElementById("title").textContent;
const isHidden = () => document.visibilityState !== "visible";
const isAwaiting = () => conversation.dataset.phase === "awaiting_approval";
const isAllowed = () => "Notification" in window && Notification.permission === "granted" && kept.read(WANTED) === true;

function drawTitle() {
  const mark = isHidden() && isAwaiting() ? "(!) Approval needed · " : isUnseen ? "● " : "";
  const title = `${mark}${name()} · ${SITE}`;
  if (document.title !== title) document.title = title;
}

function drawButton() {
  button.setAttribute("aria-pressed", String(isAllowed()));
  button.hidden = !("Notification" in window);
}

function notify(body) {
  shown?.close();
  try {
    // One tag: several tabs of one conversation make one notification. A decision waits until somebody comes.
    shown = new Notification(name(), { body, tag: conversationId, requireInteraction: isAwaiting() });
  } catch {
    // Browsers on phones have the name, and throw.
    return;
  }
  shown.addEventListener("click", () => {
    window.focus();
    document.getElementById("to-approval").click();
    shown.close();
  });
}

onPhase((phase, before) => {
  // Decided elsewhere.
  if (before === "awaiting_approval") shown?.close();
  if (isHidden() && (phase === "idle" || phase === "awaiting_approval")) {
    isUnseen = true;
    // The status line comes with the same frame as the phase.
    const words = phase === "idle" ? "The response has ended." : document.getElementById("status").textContent.trim();
    if (isAllowed()) notify(words);
  }
  drawTitle();
});

document.addEventListener("visibilitychange", () => {
  if (!isHidden()) {
    isUnseen = false;
    shown?.close();
  }
  drawTitle();
});

button.addEventListener("click", async () => {
  const isWanted = !isAllowed();
  kept.write(WANTED, isWanted);
  if (isWanted && Notification.permission !== "granted") {
    const answer = await Notification.requestPermission();
    if (answer === "denied") button.querySelector(".notify-words").textContent = "Blocked in the browser's settings";
  }
  drawButton();
});

onFrame((frame) => {
  if (frame.includes('id="title"')) drawTitle();
});
drawButton();
drawTitle();
