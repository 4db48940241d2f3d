/* The list as a drawer where the page is narrow. Knows: how narrow, who holds the focus. Must not know: what is in the list. */

const NARROW = matchMedia("(max-width: 767.98px)");
const sidebar = document.getElementById("sidebar");
const main = document.getElementById("conversation");
const opener = document.getElementById("open-drawer");

const isOpen = () => document.body.dataset.drawer === "open";

function arrange() {
  sidebar.inert = NARROW.matches && !isOpen();
  main.inert = NARROW.matches && isOpen();
  opener.setAttribute("aria-expanded", String(isOpen()));
}

export function openDrawer() {
  if (!NARROW.matches) return;
  document.body.dataset.drawer = "open";
  arrange();
  document.getElementById("close-drawer").focus();
}

export function closeDrawer() {
  if (!isOpen()) return;
  delete document.body.dataset.drawer;
  arrange();
  opener.focus();
}

document.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (action === "open-drawer") openDrawer();
  if (action === "close-drawer") closeDrawer();
});

// What comes of it, or that nothing does, is said on the page.
sidebar.addEventListener("submit", closeDrawer);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !isOpen() || document.querySelector("dialog[open], :popover-open")) return;
  event.preventDefault();
  closeDrawer();
});

let startX = null;
sidebar.addEventListener("touchstart", (event) => (startX = event.touches[0].clientX), { passive: true });
sidebar.addEventListener(
  "touchend",
  (event) => {
    if (startX !== null && startX - event.changedTouches[0].clientX > 60) closeDrawer();
    startX = null;
  },
  { passive: true },
);

NARROW.addEventListener("change", () => {
  delete document.body.dataset.drawer;
  arrange();
});
arrange();
