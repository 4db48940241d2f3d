/* Opens the socket while the page is still being read. Knows: the address, which is written on its own element. Must not
   know: what frames mean. What comes before somebody listens is kept, and told then. */
(() => {
  const { url, after } = document.currentScript.dataset;
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}${url}?after=${after}`);
  const early = [];
  const keep = (event) => early.push(event);
  const kinds = ["open", "message", "error", "close"];
  for (const kind of kinds) socket.addEventListener(kind, keep);

  window.openedSocket = {
    /** Give it away, once. Whoever takes it has until the end of its task to listen. */
    take() {
      delete window.openedSocket;
      queueMicrotask(() => {
        for (const kind of kinds) socket.removeEventListener(kind, keep);
        for (const event of early) socket.dispatchEvent(event);
      });
      return socket;
    },
  };
})();
