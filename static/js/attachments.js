/* Files that go with the next message: picked, pasted or dropped, and uploaded at once. Knows: #upload with its limits,
   #attachments, what the server answers to a file. Must not know: messages, or what becomes of a file once it was taken.

   What is uploaded is kept until it is sent, each file under its own key, so that neither a reload nor another tab loses
   one; every tab on the conversation shows the same. */

import * as kept from "./kept.js";
import { composerText, conversation, conversationId, focusComposer, speak, tell } from "./page.js";

const PREFIX = `file.${conversationId}.`;
const UNREACHABLE = "The server can’t be reached.";
const UNITS = ["bytes", "KB", "MB", "GB"];
// A browser has few connections to a server; pictures and searches want some, too.
const AT_ONCE_MAX = 3;

const form = document.getElementById("upload");
const picker = form.elements.file;
const list = document.getElementById("attachments");
const blank = document.getElementById("attachment").content.firstElementChild;
const token = form.elements.csrfmiddlewaretoken.value;
const sizeMax = Number(form.dataset.maxBytes);
const countMax = Number(form.dataset.maxFiles);
const types = picker.accept.split(",").filter((ending) => ending !== "");
// In the order in which they were chosen. Each: name, size; order: when it was chosen; state: waiting, uploading, ready or
// failed; answer: the server's; words: why it failed, and whether it can be tried again; file, request, item.
let entries = [];

function sizeWords(bytes) {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const size = bytes / 1024 ** power;
  return `${power === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${UNITS[power]}`;
}

const inState = (...states) => entries.filter((entry) => states.includes(entry.state));
const ready = () => inState("ready");

/** Why the files can't go now, in words; empty when they can. */
export function whyNot() {
  if (inState("waiting", "uploading").length > 0) return "A file is still being uploaded.";
  return inState("failed").length > 0 ? "A file could not be uploaded. Try again, or remove it." : "";
}

export const hasFiles = () => entries.length > 0;

const keep = (answer) => kept.write(PREFIX + answer.id, answer);

function draw(entry) {
  const { item, state, answer } = entry;
  item.dataset.state = state;
  item.querySelector(".file-name").textContent = entry.name;
  item.querySelector(".why").textContent = state === "failed" ? entry.words : sizeWords(entry.size);
  item.querySelector("progress").hidden = state !== "uploading" && state !== "waiting";
  item.querySelector("[data-action=upload-again]").hidden = state !== "failed" || !entry.canRepeat;
  const remove = item.querySelector("[data-action=detach]");
  remove.setAttribute("aria-label", `Remove ${entry.name}`);
  remove.title = "Remove";
  const image = item.querySelector("img");
  if (state === "ready" && /^image\/(png|jpeg|gif|webp)$/.test(answer.mime) && !image.src) {
    image.src = answer.url;
    image.hidden = false;
  }
}

function show(entry) {
  entry.item = blank.cloneNode(true);
  const image = entry.item.querySelector("img");
  image.addEventListener("error", () => {
    // Its name promised too much.
    image.hidden = true;
  });
  const later = entries.findIndex((other) => other.order > entry.order);
  const place = later < 0 ? entries.length : later;
  list.insertBefore(entry.item, list.children[place] ?? null);
  entries.splice(place, 0, entry);
  list.hidden = false;
  draw(entry);
  list.scrollTop = list.scrollHeight;
}

/** Take it off the list; the server keeps it. */
function drop(entry) {
  entry.request?.abort();
  entries = entries.filter((other) => other !== entry);
  entry.item.remove();
  list.hidden = entries.length === 0;
  if (entry.answer) kept.remove(PREFIX + entry.answer.id);
}

/** What a person takes away goes from the server, too. If that fails, nobody sees the file all the same. */
function remove(entry) {
  drop(entry);
  uploadNext();
  if (entry.state !== "ready") return;
  fetch(entry.answer.url, { method: "DELETE", headers: { "X-CSRFToken": token }, keepalive: true }).catch(() => {});
}

function fail(entry, words, canRepeat) {
  Object.assign(entry, { state: "failed", words, canRepeat });
  draw(entry);
  entry.item.scrollIntoView({ block: "nearest" });
  speak(`${entry.name}: ${words}`);
  uploadNext();
}

/** The server's answer, or null. */
function answerOf(request) {
  try {
    const answer = JSON.parse(request.responseText);
    return answer?.id && request.status === 201 ? answer : null;
  } catch {
    return null;
  }
}

function finish(entry) {
  const { request } = entry;
  const answer = answerOf(request);
  if (answer) {
    Object.assign(entry, { state: "ready", answer: { ...answer, order: entry.order }, name: answer.name });
    keep(entry.answer);
    draw(entry);
    speak(`${entry.name} is attached.`);
    uploadNext();
    return;
  }
  const isPlain = request.getResponseHeader("Content-Type")?.startsWith("text/plain") ?? false;
  const isOut = new URL(request.responseURL || location.href).pathname === "/accounts/login/";
  if (isOut) fail(entry, "You were logged out.", true);
  else if (isPlain) fail(entry, request.responseText.trim(), request.status >= 500);
  else fail(entry, `That did not work (${request.status}).`, true);
}

// Not fetch, which tells nothing of how far an upload has come.
function upload(entry) {
  const body = new FormData();
  body.append("csrfmiddlewaretoken", token);
  body.append("file", entry.file, entry.name);
  const request = new XMLHttpRequest();
  Object.assign(entry, { request, state: "uploading" });
  const progress = entry.item.querySelector("progress");
  progress.removeAttribute("value");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) progress.value = (100 * event.loaded) / event.total;
  });
  request.addEventListener("load", () => finish(entry));
  request.addEventListener("error", () => fail(entry, UNREACHABLE, true));
  request.open("POST", form.action);
  request.send(body);
  draw(entry);
}

function uploadNext() {
  const waiting = inState("waiting");
  const room = AT_ONCE_MAX - inState("uploading").length;
  for (const entry of waiting.slice(0, Math.max(0, room))) upload(entry);
}

function refusal(file) {
  if (file.size === 0) return "This file is empty.";
  if (file.size > sizeMax) return `${sizeWords(file.size)} is too large: a file has at most ${sizeWords(sizeMax)}.`;
  const isTaken = types.length === 0 || types.some((ending) => file.name.toLowerCase().endsWith(ending));
  return isTaken ? "" : `This site takes only ${types.join(", ")}.`;
}

function add(files) {
  const room = countMax - entries.length;
  if (files.length > room) tell(`A message has at most ${countMax} files.`);
  for (const [number, file] of files.slice(0, Math.max(0, room)).entries()) {
    const order = Date.now() + number / 1000;
    const entry = { name: file.name || "pasted", size: file.size, order, state: "waiting", answer: null, words: "", file };
    show(entry);
    const words = refusal(file);
    if (words) fail(entry, words, false);
  }
  uploadNext();
}

function showReady(answers) {
  for (const answer of answers) {
    if (entries.some((entry) => entry.answer?.id === answer.id)) continue;
    const { name, size, order } = answer;
    show({ name, size, order, state: "ready", answer, words: "", file: null });
  }
}

/** The files of a message that goes now; they are not offered again. */
export function takeFiles() {
  const taken = ready();
  for (const entry of taken) drop(entry);
  return taken.map((entry) => entry.answer);
}

/** The files of a message that could not be sent. */
export function putBackFiles(answers) {
  showReady(answers);
  answers.forEach(keep);
}

document.getElementById("attach").addEventListener("click", () => picker.click());
picker.addEventListener("change", () => {
  add([...picker.files]);
  picker.value = "";
  focusComposer();
});

list.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  const entry = entries.find((one) => one.item.contains(event.target));
  if (action === "upload-again") {
    Object.assign(entry, { state: "waiting", words: "" });
    draw(entry);
    uploadNext();
  }
  if (action !== "detach") return;
  remove(entry);
  focusComposer();
});

composerText.addEventListener("paste", (event) => {
  const { files, types } = event.clipboardData;
  // Office programs put a picture of the text beside the text.
  if (files.length === 0 || types.includes("text/plain")) return;
  event.preventDefault();
  add([...files]);
});

const hasDragged = (event) => event.dataTransfer?.types.includes("Files") ?? false;
const markDrop = (isOver) => conversation.toggleAttribute("data-local-drop", isOver);

// Anywhere on the page, or the browser would leave it to show the file.
document.addEventListener("dragover", (event) => {
  if (!hasDragged(event)) return;
  event.preventDefault();
  markDrop(true);
});
document.addEventListener("dragleave", (event) => event.relatedTarget === null && markDrop(false));
document.addEventListener("drop", (event) => {
  if (!hasDragged(event)) return;
  event.preventDefault();
  markDrop(false);
  const entriesDropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
  if (entriesDropped.some((entry) => entry?.isDirectory)) tell("A folder can’t be attached; pack it into one file first.");
  add([...event.dataTransfer.files].filter((_, n) => !entriesDropped[n]?.isDirectory));
  focusComposer();
});

addEventListener("storage", (event) => {
  if (!event.key?.includes(PREFIX)) return;
  const [, id] = event.key.split(PREFIX);
  const answer = kept.read(PREFIX + id);
  if (answer) showReady([answer]);
  else ready().filter((entry) => entry.answer.id === id).forEach(drop);
});

showReady(kept.keys(PREFIX).map(kept.read).filter(Boolean));
