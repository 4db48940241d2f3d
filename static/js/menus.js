/* Menus and dialogs. Knows: popovers, which button opened one, where there is room. Must not know: what is in them. */

const GAP_PX = 6;
const EDGE_PX = 8;
let opener = null;

function place(menu) {
  const at = opener.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = at.bottom + GAP_PX;
  const fitsBelow = below + height <= innerHeight - EDGE_PX;
  const top = fitsBelow ? below : Math.max(EDGE_PX, at.top - GAP_PX - height);
  const left = Math.min(Math.max(EDGE_PX, at.right - width), innerWidth - width - EDGE_PX);
  menu.style.top = `${top}px`;
  menu.style.left = `${left}px`;
}

/** Open a menu at a button. */
export function openMenu(menu, button) {
  opener = button;
  menu.showPopover();
}

document.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("[popovertarget]");
    if (button) opener = button;
  },
  { capture: true },
);

document.addEventListener(
  "toggle",
  (event) => {
    if (!event.target.matches?.(".menu[popover]")) return;
    if (event.newState === "open") {
      place(event.target);
      event.target.querySelector("a, button, input:checked")?.focus();
    } else if (document.activeElement === document.body) {
      opener?.focus();
    }
  },
  { capture: true },
);

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest(".menu:popover-open");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!menu || !step || event.target.matches("input")) return;
  event.preventDefault();
  const items = [...menu.querySelectorAll("a, button")];
  const at = items.indexOf(document.activeElement);
  items[(at + step + items.length) % items.length].focus();
});

document.addEventListener("click", (event) => {
  const closer = event.target.closest("[data-action=close-dialog]");
  if (closer) closer.closest("dialog").close();
  // A click on the darkened page lands on the dialog itself.
  if (event.target.matches("dialog[open]")) event.target.close();
});

// What unfolds over the page folds away like a menu.
document.addEventListener("click", (event) => {
  for (const facts of document.querySelectorAll(".facts[open]")) {
    if (!facts.contains(event.target)) facts.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const facts = event.key === "Escape" && event.target.closest(".facts[open]");
  if (!facts) return;
  event.preventDefault();
  facts.open = false;
  facts.querySelector("summary").focus();
});
