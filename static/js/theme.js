/* The colours that the person chose. Knows: the root element's data-theme, and where the choice is kept.
   Must not know: the page. Loaded before anything is painted, so that nothing flashes. */
(() => {
  const KEY = "agentsite.theme";
  const root = document.documentElement;

  function chosen() {
    try {
      return localStorage.getItem(KEY) ?? "system";
    } catch {
      return "system";
    }
  }

  function apply(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  function mark() {
    for (const input of document.querySelectorAll("input[name=theme]")) input.checked = input.value === chosen();
  }

  apply(chosen());
  document.addEventListener("DOMContentLoaded", mark);
  document.addEventListener("change", (event) => {
    if (event.target.name !== "theme") return;
    try {
      localStorage.setItem(KEY, event.target.value);
    } catch {
      // The choice then holds for this page alone.
    }
    apply(event.target.value);
  });
  addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    apply(chosen());
    mark();
  });
})();
