/* Changing the arguments of a call before it runs. Knows: the editor of a card, JSON, lines. Must not know: sockets, or who
   opens the editor. What it makes is the frame on the button that approves with the changes. */

import { messages } from "./page.js";

// Beyond that the whole changed part is shown as taken out and put in, which is true as well.
const TABLE_MAX_CELLS = 1_000_000;
const AROUND_LINES = 2;
const TAGS = { added: "ins", removed: "del", kept: "span", gap: "span" };

const as = (kind) => (text) => ({ kind, text });

/** The lines of both, each as kept, removed or added, by their longest common subsequence. */
export function diffLines(before, after) {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const middle = changed(before.slice(head, before.length - tail), after.slice(head, after.length - tail));
  return [...before.slice(0, head).map(as("kept")), ...middle, ...before.slice(before.length - tail).map(as("kept"))];
}

function changed(old, fresh) {
  const width = fresh.length + 1;
  if ((old.length + 1) * width > TABLE_MAX_CELLS) return [...old.map(as("removed")), ...fresh.map(as("added"))];
  // common[i * width + j]: how many lines old from i on and fresh from j on have in common.
  const common = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      const [down, right] = [common[(i + 1) * width + j], common[i * width + j + 1]];
      common[i * width + j] = old[i] === fresh[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(down, right);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < fresh.length) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      lines.push(as("kept")(old[i]));
      i += 1;
      j += 1;
    } else if (j === fresh.length || (i < old.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      lines.push(as("removed")(old[i]));
      i += 1;
    } else {
      lines.push(as("added")(fresh[j]));
      j += 1;
    }
  }
  return lines;
}

/** The changes with a few lines around them; a gap stands for the rest. */
function nearChanges(lines) {
  const isNear = (n) => lines.slice(Math.max(0, n - AROUND_LINES), n + AROUND_LINES + 1).some((line) => line.kind !== "kept");
  const near = lines.map((line, n) => (isNear(n) ? line : as("gap")("⋯")));
  return near.filter((line, n) => line.kind !== "gap" || (n > 0 && n < near.length - 1 && near[n - 1].kind !== "gap"));
}

// As the server counts them: a newline at the end begins no line.
const linesOf = (text) => text.replace(/\n$/, "").split("\n");

function drawChanges(place, fields) {
  const lines = fields.flatMap((field) => [
    ...(fields.length > 1 ? [as("gap")(`${field.name}:`)] : []),
    ...nearChanges(diffLines(linesOf(field.defaultValue), linesOf(field.value))),
  ]);
  place.replaceChildren(
    ...lines.map((line) => {
      const element = document.createElement(TAGS[line.kind]);
      element.className = line.kind;
      element.textContent = line.text;
      return element;
    }),
  );
}

/** The value of a field and, where it is none, why. */
function read(field) {
  if (field.dataset.isText === "true") return { value: field.value, fault: "" };
  try {
    return { value: JSON.parse(field.value), fault: "" };
  } catch (error) {
    return { value: null, fault: `“${field.name}” is not valid JSON: ${error.message}` };
  }
}

/** Draws what was changed, and makes the frame. */
function review(card) {
  const editor = card.querySelector(".call-edit");
  const fields = [...editor.querySelectorAll("textarea")];
  const values = fields.map(read);
  const edited = fields.filter((field) => field.value !== field.defaultValue);
  const fault = values.map((value) => value.fault).find(Boolean) ?? "";
  fields.forEach((field, n) => field.setAttribute("aria-invalid", String(values[n].fault !== "")));
  editor.querySelector(".fault").textContent = fault;
  editor.toggleAttribute("data-local-changed", edited.length > 0);
  drawChanges(editor.querySelector(".edits"), edited);
  const button = card.querySelector("[data-action=approve-changes]");
  button.setAttribute("aria-disabled", String(fault !== "" || edited.length === 0));
  const { callId: call_id, digest } = card.dataset;
  const args = Object.fromEntries(fields.map((field, n) => [field.name, values[n].value]));
  button.dataset.frame = JSON.stringify({ type: "approve", call_id, digest, arguments: args });
}

messages.addEventListener("input", (event) => {
  if (event.target.matches(".call-edit textarea")) review(event.target.closest(".call"));
});
