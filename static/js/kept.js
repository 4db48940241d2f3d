/* What this browser keeps between visits. Knows: localStorage, and that it may be full or forbidden.
   Must not know: what the values mean. */

const PREFIX = "agentsite.";

export function read(key) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key));
  } catch {
    return null;
  }
}

/** Whether it was kept. */
export function write(key, value) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function remove(key) {
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // Nothing was kept, then.
  }
}

/** The keys that begin so, without what all of ours begin with. */
export function keys(beginning) {
  const found = [];
  try {
    for (let n = 0; n < localStorage.length; n += 1) {
      const key = localStorage.key(n);
      if (key.startsWith(PREFIX + beginning)) found.push(key.slice(PREFIX.length));
    }
  } catch {
    // Nothing was kept, then.
  }
  return found;
}
