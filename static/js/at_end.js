/* Shows the end of the transcript with the first paint; the modules that keep it there come later. Knows: the scroller, and
   that an address with a message in it leads elsewhere. Must not know: what is written. */
if (!location.hash) document.getElementById("scroller").scrollTop = document.getElementById("scroller").scrollHeight;
