/* The name at the top, changed in its place. Knows: #title, which the server replaces, and the form beside it.
   Must not know: the list. */

const form = document.getElementById("rename");
const opener = document.getElementById("rename-open");
const field = form.elements.title;
const title = () => document.getElementById("title");

function begin() {
  field.value = title().textContent;
  form.hidden = false;
  form.parentElement.setAttribute("data-local-renaming", "");
  field.focus();
  field.select();
}

function leave({ returnsFocus }) {
  if (form.hidden) return;
  form.hidden = true;
  form.parentElement.removeAttribute("data-local-renaming");
  if (returnsFocus) opener.focus();
}

opener.addEventListener("click", begin);
document.addEventListener("dblclick", (event) => {
  if (event.target.id === "title") begin();
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.preventDefault();
  leave({ returnsFocus: true });
});
form.addEventListener("focusout", (event) => {
  if (!form.contains(event.relatedTarget)) leave({ returnsFocus: false });
});
form.addEventListener("agentsite:done", () => leave({ returnsFocus: true }));
