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
  logIn.hidden = end !== "logged-out";
  words.textContent = { online: "Connected", connecting: "Connecting…", offline: ENDS[end] ?? "Offline" }[state];
  if (dueAt === null) return;
  tick();
  ticking = setInterval(tick, 250);
}

document.addEventListener("agentsite:connection", (event) => show(event.detail));
button.addEventListener("click", reconnect);
