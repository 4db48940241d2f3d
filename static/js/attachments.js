/* Files that go with the next message: picked, pasted or dropped, and uploaded at once. Knows: #upload, #attachments, what
   the server answers to a file. Must not know: messages, or what becomes of a file once it was taken.

   What is uploaded is kept until it is sent, so that a reload loses nothing. */

import * as kept from "./kept.js";
import { composerText, conversation, conversationId, focusComposer, tell } from "./page.js";

const KEPT = `files.${conversationId}`;
const UNREACHABLE = "The server can’t be reached.";
const UNITS = ["bytes", "KB", "MB", "GB"];

const form = document.getElementById("upload");
const picker = form.elements.file;
const list = document.getElementById("attachments");
const blank = document.getElementById("attachment").content.firstElementChild;
const sizeMax = Number(form.dataset.maxBytes ?? Infinity);
// Each: name, size; state: uploading, ready or failed; answer: the server's; words: why it failed; file, request, item.
let entries = [];

function sizeWords(bytes) {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const size = bytes / 1024 ** power;
  return `${power === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${UNITS[power]}`;
}

const ready = () => entries.filter((entry) => entry.state === "ready");
export const isUploading = () => entries.some((entry) => entry.state === "uploading");
export const hasFiles = () => ready().length > 0;

function keep() {
  const answers = ready().map((entry) => entry.answer);
  if (answers.length > 0) kept.write(KEPT, answers);
  else kept.remove(KEPT);
}

function draw(entry) {
  const { item, state, answer } = entry;
  item.dataset.state = state;
  item.querySelector(".file-name").textContent = entry.name;
  item.querySelector(".why").textContent = state === "failed" ? entry.words : sizeWords(entry.size);
  item.querySelector("progress").hidden = state !== "uploading";
  item.querySelector("[data-action=upload-again]").hidden = state !== "failed" || !entry.canRepeat;
  const remove = item.querySelector("[data-action=detach]");
  remove.setAttribute("aria-label", `Remove ${entry.name}`);
  remove.title = "Remove";
  const image = item.querySelector("img");
  if (state === "ready" && /^image\/(png|jpeg|gif|webp)$/.test(answer.mime) && image.hidden) {
    image.src = answer.url;
    image.hidden = false;
  }
}

function show(entry) {
  entry.item = blank.cloneNode(true);
  entries.push(entry);
  list.append(entry.item);
  list.hidden = false;
  draw(entry);
}

function remove(entry) {
  entry.request?.abort();
  entries = entries.filter((other) => other !== entry);
  entry.item.remove();
  list.hidden = entries.length === 0;
  keep();
}

function fail(entry, words, canRepeat) {
  Object.assign(entry, { state: "failed", words, canRepeat });
  draw(entry);
  document.getElementById("spoken").textContent = `${entry.name}: ${words}`;
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
    Object.assign(entry, { state: "ready", answer });
    keep();
    draw(entry);
    return;
  }
  const isPlain = request.getResponseHeader("Content-Type")?.startsWith("text/plain") ?? false;
  const isOut = new URL(request.responseURL || location.href).pathname === "/accounts/login/";
  if (isOut) fail(entry, "You were logged out.", true);
  else if (isPlain && request.status < 500) fail(entry, request.responseText.trim(), false);
  else fail(entry, `That did not work (${request.status}).`, true);
}

// Not fetch, which tells nothing of how far an upload has come.
function upload(entry) {
  const body = new FormData();
  body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
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

function add(file) {
  const entry = { name: file.name || "pasted", size: file.size, state: "uploading", answer: null, words: "", file };
  show(entry);
  if (file.size > sizeMax) fail(entry, `${sizeWords(file.size)} is too large: a file has at most ${sizeWords(sizeMax)}.`, false);
  else if (file.size === 0) fail(entry, "This file is empty.", false);
  else upload(entry);
}

/** The files of a message that goes now; they are not offered again. */
export function takeFiles() {
  const taken = ready();
  for (const entry of taken) remove(entry);
  return taken.map((entry) => entry.answer);
}

/** The files of a message that could not be sent. */
export function putBackFiles(answers) {
  for (const answer of answers) {
    if (!entries.some((entry) => entry.answer?.id === answer.id)) {
      show({ name: answer.name, size: answer.size, state: "ready", answer, words: "", file: null });
    }
  }
  keep();
}

document.getElementById("attach").addEventListener("click", () => picker.click());
picker.addEventListener("change", () => {
  for (const file of picker.files) add(file);
  picker.value = "";
  focusComposer();
});

list.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  const entry = entries.find((one) => one.item.contains(event.target));
  if (action === "upload-again") upload(entry);
  if (action !== "detach") return;
  remove(entry);
  focusComposer();
});

composerText.addEventListener("paste", (event) => {
  const { files, types } = event.clipboardData;
  // Office programs put a picture of the text beside the text.
  if (files.length === 0 || types.includes("text/plain")) return;
  event.preventDefault();
  for (const file of files) add(file);
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
  [...event.dataTransfer.files].forEach((file, n) => entriesDropped[n]?.isDirectory || add(file));
  focusComposer();
});

putBackFiles(kept.read(KEPT) ?? []);
