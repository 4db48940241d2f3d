/* Brings the tray up to date around an item that is being edited, which is left untouched: its text, caret, focus
   and half-composed characters stay. Knows: the tray's markup. Must not know: sockets, or how editing works. */

const idOf = (item) => item.dataset.queuedId;
const isOpen = (item) => item.querySelector("form.editor") !== null;

export function mergeQueue(present, fresh) {
  present.querySelector("header").replaceWith(fresh.querySelector("header"));
  const list = present.querySelector("ol");
  const wanted = [...fresh.querySelectorAll("ol > li")];
  const kept = [...list.children].find((item) => isOpen(item) && wanted.some((one) => idOf(one) === idOf(item)));
  for (const item of [...list.children]) {
    if (item === kept) continue;
    if (isOpen(item)) item.dispatchEvent(new CustomEvent("agentsite:editing-lost", { bubbles: true }));
    item.remove();
  }
  let isBefore = kept !== undefined;
  for (const item of wanted) {
    if (kept && idOf(item) === idOf(kept)) {
      refresh(kept, item);
      isBefore = false;
    } else if (isBefore) {
      list.insertBefore(item, kept);
    } else {
      list.append(item);
    }
  }
}

function refresh(kept, fresh) {
  kept.dataset.delivery = fresh.dataset.delivery;
  kept.dataset.edited = fresh.dataset.edited;
  for (const part of [".item-text", ".item-notes", ".item-actions"]) {
    kept.querySelector(part).replaceWith(fresh.querySelector(part));
  }
}
