/* Stop answers to the eye at once, before the server has. Knows: #stop. Must not know: what is being stopped. */

import { conversation, focusComposer, isBusy, isCovered } from "./page.js";

const label = () => document.querySelector("#stop .label-stop");

document.addEventListener("agentsite:sent", (event) => {
  if (event.target.id !== "stop") return;
  label().textContent = "Stopping…";
  // Replaced by the server's word; a second press would have nothing to add.
  event.target.setAttribute("aria-disabled", "true");
  document.getElementById("controls").setAttribute("data-local-stopping", "");
  document.getElementById("status").textContent = "Stopping…";
  focusComposer();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || !isBusy() || isCovered()) return;
  if (event.target.matches("#search, #rename input") || conversation.dataset.phase === "stopping") return;
  event.preventDefault();
  document.getElementById("stop").click();
});
