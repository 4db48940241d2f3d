/* Times as the reader's clock tells them. Knows: <time datetime>, days, countdowns, how long something runs. Must not know: what happened then.
   What it writes on articles are data-local-* attributes, which survive a swap of the others. */

import { messages, onFrame } from "./page.js";

const TICK_MS = 250;
// A countdown that claims more than this comes from a clock that is wrong.
const COUNTDOWN_MAX_MS = 3_600_000;
const ELAPSED_MAX_MS = 24 * 3_600_000;

let made = null;
// The first of them that a page asks for takes the browser tens of milliseconds.
const forms = () =>
  (made ??= {
    hour: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }),
    full: new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" }),
    dated: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }),
    day: new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" }),
  });

function drawTimes(root) {
  const { hour, full, dated } = forms();
  for (const time of root.querySelectorAll("time[datetime]:not([data-local-drawn])")) {
    const at = new Date(time.dateTime);
    const form = { full, dated }[time.className] ?? hour;
    time.textContent = form.format(at);
    if (form !== full) time.title = full.format(at);
    time.setAttribute("data-local-drawn", "");
  }
}

/** Names the day on the first message of each. A message without a time yet belongs to the day before it. */
function drawDays() {
  const { day } = forms();
  let last = "";
  for (const article of messages.children) {
    const time = article.querySelector(":scope > .foot time");
    const name = time ? day.format(new Date(time.dateTime)) : last;
    const isFirst = name !== last;
    if (isFirst && article.getAttribute("data-local-day") !== name) article.setAttribute("data-local-day", name);
    if (!isFirst) article.removeAttribute("data-local-day");
    last = name;
  }
}

function draw() {
  drawTimes(document);
  drawDays();
}

function tick() {
  for (const place of document.querySelectorAll("[data-until-ms]")) {
    const left = Number(place.dataset.untilMs) - Date.now();
    const words = left > 0 && left < COUNTDOWN_MAX_MS ? `${Math.ceil(left / 1000)} s` : "a moment";
    if (place.textContent !== words) place.textContent = words;
  }
  for (const place of document.querySelectorAll("[data-since-ms]")) {
    const past = Date.now() - Number(place.dataset.sinceMs);
    const words = past >= 1000 && past < ELAPSED_MAX_MS ? `${Math.floor(past / 1000)} s` : "";
    if (place.textContent !== words) place.textContent = words;
  }
}

onFrame((frame) => {
  if (frame.includes("<time")) draw();
  if (/data-(until|since)-ms/.test(frame)) tick();
});
document.addEventListener("htmx:afterSwap", draw);
setInterval(tick, TICK_MS);
// Days move what is below them, which must be in its place when the address leads to it. Otherwise the page is used first.
if (location.hash) draw();
else setTimeout(draw);
