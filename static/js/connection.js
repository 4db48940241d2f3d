/* Shows whether the page is connected. Knows: #connection. Must not know: how one connects. */

import { reconnect } from "./socket.js";

const place = document.getElementById("connection");
const words = place.querySelector(".words");
const countdown = place.querySelector(".countdown");
const button = document.getElementById("reconnect");
const logIn = document.getElementById("log-in-again");

const ENDS = {
  "logged-out": "You were logged out",
  gone: "This conversation is gone",
  refused: "The server refuses this address",
};
let dueAt = null;
let ticking = 0;
let isLoggedOut = false;

function tick() {
  const seconds = Math.ceil((dueAt - Date.now()) / 1000);
  countdown.textContent = seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
}

function show({ state, dueAt: due, end }) {
  clearInterval(ticking);
  dueAt = due;
  place.dataset.state = state;
  countdown.textContent = "";
  button.hidden = state !== "offline" || end !== null;
  isLoggedOut = end === "logged-out";
  logIn.hidden = !isLoggedOut;
  words.textContent = { online: "Connected", connecting: "Connecting…", offline: ENDS[end] ?? "Offline" }[state];
  if (dueAt === null) return;
  tick();
  ticking = setInterval(tick, 250);
}

/** Who has logged in elsewhere goes on here. The page is another one then: its forms carry a new token. */
async function lookWhetherLoggedIn() {
  if (!isLoggedOut || document.visibilityState !== "visible") return;
  const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
  if (answer?.ok) location.reload();
}

document.addEventListener("agentsite:connection", (event) => show(event.detail));
button.addEventListener("click", reconnect);
document.addEventListener("visibilitychange", lookWhetherLoggedIn);
addEventListener("focus", lookWhetherLoggedIn);
