/* How fragments enter the page, beyond what htmx does by itself. Knows: htmx's extension points, ids, data-position.
   Must not know: what the fragments mean, or where they come from.

   attributes        the element takes over the fragment's attributes and keeps its children; data-local-* is the page's own
   upsert:#list      replaces the element with the fragment's id, or puts it in its place in the list
   lift:#list        puts it first, and takes away the one that was there before */

import { queue as currentQueue } from "./page.js";
import { carryCalls, mergeCall } from "./call_merge.js";
import { mergeQueue } from "./queue_merge.js";

const LOCAL = "data-local-";

function copyAttributes(target, source) {
  for (const { name, value } of source.attributes) {
    if (target.getAttribute(name) !== value) target.setAttribute(name, value);
  }
  for (const { name } of [...target.attributes]) {
    if (name.startsWith("data-") && !name.startsWith(LOCAL) && !source.hasAttribute(name)) target.removeAttribute(name);
  }
}

/** What a reader has unfolded stays so. */
function keepOpen(before, after) {
  for (const details of before.querySelectorAll("details[id][open]:not(.call-fold)")) {
    after.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
  }
}

/** Where an article belongs: before the first one that comes after it. Entries have no position and go last. */
function successor(list, fresh) {
  if (fresh.dataset.position === undefined) return null;
  const position = Number(fresh.dataset.position);
  let next = null;
  for (let one = list.lastElementChild; one && Number(one.dataset.position) > position; one = one.previousElementSibling) {
    next = one;
  }
  return next;
}

/** Whether it lies before everything that is shown: loading the older messages will bring it. */
function isOlder(list, next) {
  return next !== null && next === list.firstElementChild && document.getElementById("older")?.hidden === false;
}

function upsert(list, fresh) {
  const present = document.getElementById(fresh.id);
  if (present?.matches(".call")) {
    mergeCall(present, fresh);
    return;
  }
  if (present) {
    keepOpen(present, fresh);
    carryCalls(present, fresh);
    present.replaceWith(fresh);
    return;
  }
  const next = successor(list, fresh);
  if (!isOlder(list, next)) list.insertBefore(fresh, next);
}

function lift(list, fresh) {
  document.getElementById(fresh.id)?.remove();
  list.prepend(fresh);
}

const styles = { upsert, lift, attributes: copyAttributes };

htmx.defineExtension("agentsite", {
  isInlineSwap: (style) => style in styles,
  handleSwap(style, target, fragment) {
    if (!(style in styles)) return false;
    const fresh = fragment.firstElementChild;
    styles[style](target, fresh);
    // htmx looks for its own attributes in what it is given.
    return style !== "attributes" && fresh.isConnected ? [fresh] : [];
  },
});

/** The line is read out when its text changes, which only works on an element that stays. */
function mergeStatus(target, fresh) {
  if (target.innerHTML !== fresh.innerHTML) target.replaceChildren(...fresh.childNodes);
}

document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target, fragment } = event.detail;
  // Rows of a table only survive the parser inside a template.
  if (fragment instanceof HTMLTemplateElement) fragment.append(fragment.content);
  const fresh = fragment.firstElementChild;
  if (target.id === "status" && fresh?.id === "status") {
    mergeStatus(target, fresh);
    event.detail.shouldSwap = false;
  } else if (target.id === "queue" && fresh?.id === "queue" && target === currentQueue()) {
    copyAttributes(target, fresh);
    target.hidden = fresh.hidden;
    mergeQueue(target, fresh);
    event.detail.shouldSwap = false;
  } else if (target.matches("#messages, article, .foot")) {
    keepOpen(target, fragment);
    if (!target.matches(".foot")) carryCalls(target, fragment);
  }
});

// A part that is replaced while it has the focus gives it to its successor; one that is taken away, to its neighbour.
let focused = null;
document.addEventListener("htmx:wsBeforeMessage", () => {
  const element = document.activeElement;
  const home = element?.closest("#messages [id], #queue [id], #queue, #conversations > li, #controls");
  const homes = home ? [home, home.nextElementSibling, home.previousElementSibling].map((one) => one?.id) : [];
  focused = home ? { element, homes, sign: signOf(element) } : null;
});
document.addEventListener("htmx:wsAfterMessage", () => {
  if (!focused) return;
  if (focused.element.isConnected) {
    // Carried over into what replaced its surroundings.
    if (document.activeElement === document.body) focused.element.focus({ preventScroll: true });
    return;
  }
  const home = focused.homes.map((id) => document.getElementById(id)).find(Boolean) ?? currentQueue();
  const heirs = [...home.querySelectorAll("a, button, summary")];
  const heir = heirs.find((one) => signOf(one) === focused.sign && !one.disabled && !one.hidden);
  (heir ?? document.getElementById("message-text")).focus({ preventScroll: true });
});

function signOf(element) {
  return [element.tagName, element.id, element.dataset.action, element.getAttribute("href")].join(" ");
}
