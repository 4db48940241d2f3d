/* Staff review. Knows: the conversation as its user saw it, which lies in a shadow tree, and the slider over its events.
   Must not know: what is shown there. Without this file the pages work by their links and forms. */

// The browser opens what comes with the page; what htmx swaps in is opened here.
function openShadows() {
  for (const template of document.querySelectorAll(".as-seen > template[shadowrootmode]")) {
    const root = template.parentElement.attachShadow({ mode: template.getAttribute("shadowrootmode") });
    root.append(template.content);
    template.remove();
  }
}

function prepareSlider() {
  const slider = document.getElementById("travel-slider");
  const number = document.getElementById("travel-number");
  if (!slider || slider.hasAttribute("data-local-ready")) return;
  slider.setAttribute("data-local-ready", "");
  slider.addEventListener("input", () => (number.value = slider.value));
  slider.addEventListener("change", () => slider.form.requestSubmit());
}

function prepare() {
  openShadows();
  prepareSlider();
}

document.addEventListener("htmx:afterSwap", prepare);
prepare();
