/* Where the reader is. Knows: the scroller, how far its end is, the "New content" pill. Must not know: what is written.

   The page follows the text while the reader is at its end. Scrolling up lets go at once; coming back takes hold again. */

import { focusComposer, onFrame } from "./page.js";

const NEAR_PX = 64;
const FAR_PX = 400;

const scroller = document.getElementById("scroller");
const column = scroller.querySelector(".column");
const list = document.getElementById("messages");
const pill = document.getElementById("pill");
const words = pill.querySelector(".pill-words");

let follows = true;
let hasNews = false;
let lastTop = 0;
let wasNear = true;

const left = () => scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;

function drawPill(distance) {
  if (distance <= NEAR_PX) hasNews = false;
  pill.hidden = follows || !(hasNews || distance > FAR_PX) || distance <= NEAR_PX;
  const label = hasNews ? "New content" : "To the end";
  if (words.textContent !== label) words.textContent = label;
}

function stick() {
  scroller.scrollTop = scroller.scrollHeight;
  lastTop = scroller.scrollTop;
}

/** Go to the end, and stay there. */
export function toBottom() {
  follows = true;
  hasNews = false;
  stick();
  drawPill(0);
}

/** Stay where the reader is, whatever comes. */
export function letGo() {
  follows = false;
}

scroller.addEventListener(
  "scroll",
  () => {
    const distance = left();
    const top = scroller.scrollTop;
    // A text that became shorter also moves the page up, but leaves it at its end.
    if (top < lastTop && distance > 1) follows = false;
    else if (distance <= NEAR_PX && top >= lastTop) follows = true;
    lastTop = top;
    wasNear = distance <= NEAR_PX;
    drawPill(distance);
  },
  { passive: true },
);

// The wheel tells the wish before the page has moved: no frame in between may pull it back.
scroller.addEventListener(
  "wheel",
  (event) => {
    if (event.deltaY < 0 && scroller.scrollTop > 0 && scroller.scrollHeight > scroller.clientHeight) follows = false;
  },
  { passive: true },
);

// Called after layout and before paint, so that following costs no second layout and is never seen.
const sizes = new ResizeObserver(() => {
  if (follows) stick();
  else drawPill(left());
});
sizes.observe(column);
sizes.observe(scroller);

new MutationObserver((changes) => {
  const last = list.lastElementChild;
  const isNew = changes.some((change) => [...change.addedNodes].includes(last));
  if (isNew && wasNear) follows = true;
}).observe(list, { childList: true });

onFrame((frame) => {
  if (follows || !/id="[mt]-/.test(frame)) return;
  hasNews = true;
  drawPill(left());
});

pill.addEventListener("click", () => {
  toBottom();
  // It vanishes by what it does.
  focusComposer();
});

// The whole transcript is drawn anew after a long absence: what the reader looks at stays where it is.
let anchor = null;
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  if (event.detail.target.id === "messages" && !follows) anchor = holdPlace();
});
onFrame(() => {
  anchor?.();
  anchor = null;
});

// An article with a decision in it has no box of its own, so that its card can be pinned anywhere in the transcript.
const topOf = (article) => article.querySelector(".content").getBoundingClientRect().top;
const bottomOf = (article) => article.querySelector(".foot").getBoundingClientRect().bottom;

/** Notes which article is in view; the function that it returns brings it back to where it was. */
export function holdPlace() {
  const edge = scroller.getBoundingClientRect().top;
  const seen = [...list.children].find((article) => bottomOf(article) > edge);
  if (!seen) return () => {};
  const { id } = seen;
  const before = topOf(seen);
  return () => {
    const same = document.getElementById(id);
    if (!same) return;
    scroller.scrollTop += topOf(same) - before;
    lastTop = scroller.scrollTop;
  };
}

toBottom();
