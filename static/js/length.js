/* How long a message may be. Knows: the limit, and how the server counts. Must not know: where a text is written. */

const LIMIT_CHARACTERS = 32_000;
const COUNT_FROM_CHARACTERS = 31_000;

/** Characters as the server counts them: code points. Never more than UTF-16 units, which cost nothing to count. */
const characters = (text) => (text.length < COUNT_FROM_CHARACTERS ? text.length : [...text].length);

const inWords = (count) => `${count.toLocaleString("en")} ${count === 1 ? "character" : "characters"}`;

/** How many more there may be, below 0 when there are too many; and that in words, where it is near. */
export function room(text) {
  const left = LIMIT_CHARACTERS - characters(text);
  if (left < 0) {
    return { left, words: `${inWords(-left)} too long: a message has at most ${LIMIT_CHARACTERS.toLocaleString("en")}.` };
  }
  return { left, words: left <= LIMIT_CHARACTERS - COUNT_FROM_CHARACTERS ? `${inWords(left)} left` : "" };
}
