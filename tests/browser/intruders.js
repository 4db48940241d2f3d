// What is on the page that only a hostile text can have brought in, in words.
() => {
  const found = [];
  if ("hacked" in window) found.push("a script ran");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((id, n) => ids.indexOf(id) !== n))) found.push(`id twice: ${id}`);
  const foreign = "script:not([src^='/static/']), iframe, object, embed, img, base, meta[http-equiv], style, frame, " +
    "video, audio, link:not([href^='/static/'], head > [rel='expect'][href='#spoken']), applet, portal, fencedframe";
  for (const element of document.querySelectorAll(foreign)) found.push(element.outerHTML.slice(0, 200));
  const written = document.querySelectorAll(".content *, .reasoning-text *, .item-text *, #title *, .name *, " +
    ".ending p *, .notice p *, .snippet *, #status :not(.countdown), #unsent .item-text *");
  for (const element of written) {
    for (const { name, value } of element.attributes) {
      const isOdd = /^(on|hx-|data-hx|ws-|style$|srcdoc|formaction|action$|xlink)/i.test(name);
      if (isOdd) found.push(`${element.tagName} ${name}=${value}`);
      if (name === "href" && !/^(https?:|mailto:)/i.test(value)) found.push(`a link to ${value}`);
    }
    const isControl = /^(FORM|SVG|INPUT|TEXTAREA|SELECT)$/i.test(element.tagName);
    if (isControl && !element.matches("input[type=checkbox][disabled]")) {
      found.push(element.outerHTML.slice(0, 200));
    }
  }
  for (const element of document.querySelectorAll("*")) {
    for (const { name } of element.attributes) if (/^on/i.test(name)) found.push(`${element.tagName} ${name}`);
  }
  return found;
}
