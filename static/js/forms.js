/* Requests beside the socket. Knows: form[data-quiet], whose effect comes back over the socket or is another page; htmx's
   requests; the answers 204 and "log in first". Must not know: what they ask for. Tells `agentsite:done` on the form, or shows why it failed. */

import { tell } from "./page.js";

const UNREACHABLE = "The server can't be reached. Try again once you are connected.";

// What is on its way goes once, however often one clicks, and so does what leads to another page until that is there.
const underWay = new Set();

const failed = (status) => tell(`That did not work (${status}). Reload the page and try again.`);
const asksToLogIn = (address) => new URL(address, location.href).pathname === "/accounts/login/";
const logIn = () => location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);

/** Whether another page comes. */
async function post(form) {
  const response = await fetch(form.action, {
    method: "POST",
    body: new FormData(form),
    headers: { "HX-Request": "true", "HX-Current-URL": location.href },
  });
  if (asksToLogIn(response.url)) {
    logIn();
    return true;
  }
  if (!response.ok) {
    if (response.headers.get("Content-Type")?.startsWith("text/plain")) tell(await response.text());
    else failed(response.status);
    return false;
  }
  form.dispatchEvent(new CustomEvent("agentsite:done", { bubbles: true }));
  const next = response.headers.get("HX-Redirect") ?? form.dataset.then;
  if (next) location.assign(next);
  return Boolean(next);
}

async function submit(form) {
  if (underWay.has(form)) return;
  underWay.add(form);
  try {
    if (await post(form)) return;
  } catch {
    tell(UNREACHABLE);
  }
  underWay.delete(form);
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-quiet]")) return;
  event.preventDefault();
  submit(event.target);
});

// Back again, perhaps to a page that was kept as it was.
addEventListener("pageshow", () => underWay.clear());

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!asksToLogIn(event.detail.xhr.responseURL)) return;
  event.detail.shouldSwap = false;
  logIn();
});
document.addEventListener("htmx:responseError", (event) => failed(event.detail.xhr.status));
document.addEventListener("htmx:sendError", () => tell(UNREACHABLE));
