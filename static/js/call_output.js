/* What running tools print, as it comes. The tail is in view while the reader is near it. Knows: the cards' folds and output.
   Must not know: what is decided on a card. */

import { messages, onFrame } from "./page.js";

const NEAR_PX = 24;

const distance = (output) => output.scrollHeight - output.clientHeight - output.scrollTop;
const toTail = (output) => output.scrollTo({ top: output.scrollHeight, behavior: "instant" });

function follow() {
  for (const output of messages.querySelectorAll('.call[data-call-state="running"] .call-output:not(:empty)')) {
    const fold = output.closest(".call-fold");
    // Nobody was asked for this call and it says something: now there is something to see.
    if (!fold.open && !fold.hasAttribute("data-local-chosen")) fold.open = true;
    if (!output.hasAttribute("data-local-held")) toTail(output);
  }
}

onFrame((frame) => {
  if (frame.includes("-output") || frame.includes("data-call-state")) follow();
});

messages.addEventListener(
  "scroll",
  (event) => {
    if (!event.target.matches?.(".call-output")) return;
    event.target.toggleAttribute("data-local-held", distance(event.target) > NEAR_PX);
  },
  { capture: true, passive: true },
);

/* A fold that the reader has touched, or reads in, is the reader's. */
const choose = (event) => event.target.closest(".call-fold")?.setAttribute("data-local-chosen", "");
messages.addEventListener("click", (event) => {
  if (event.target.closest(".call-fold > summary")) choose(event);
});
messages.addEventListener("wheel", (event) => event.target.closest(".call-output") && choose(event), { passive: true });
messages.addEventListener("touchmove", (event) => event.target.closest(".call-output") && choose(event), { passive: true });
messages.addEventListener("keydown", (event) => event.target.matches(".call-output") && choose(event));

messages.addEventListener(
  "toggle",
  (event) => {
    const output = event.target.matches(".call-fold[open]") && event.target.querySelector(".call-output");
    if (output && !output.hasAttribute("data-local-held")) toTail(output);
  },
  { capture: true },
);

follow();
