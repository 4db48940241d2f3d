// Looks at the page as somebody does who needs contrast, names or large targets. The answer names the faults.
([look, argument]) => {
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    const isShown = element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    return isShown && box.width > 1 && box.height > 1 && !element.closest("[inert], .visually-hidden");
  };

  const called = (element) => {
    const id = element.id ? `#${element.id}` : "";
    const action = element.dataset?.action ? `[${element.dataset.action}]` : "";
    const name = element.className?.baseVal ?? element.className;
    return `${element.tagName.toLowerCase()}${id}${action}.${name} “${element.textContent.trim().slice(0, 30)}”`;
  };

  const wordsOf = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    return node.nodeType === Node.ELEMENT_NODE && node.getAttribute("aria-hidden") !== "true" ? node.textContent : "";
  };

  const nameOf = (element) => {
    const ids = element.getAttribute("aria-labelledby")?.split(" ") ?? [];
    const others = ids.map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
    const own = [...element.childNodes].map(wordsOf).join("");
    const names = [others, element.getAttribute("aria-label"), element.labels?.[0]?.textContent, own, element.title];
    return (names.find((name) => name) ?? "").trim();
  };

  const unnamed = () => {
    const controls = "a, button, input:not([type=hidden]), textarea, select, summary, dialog, [role]";
    // What is said there is its own name, or it needs none.
    const nameless = "[role=search], [role=status], [role=alert], [role=timer], math *";
    return [...document.querySelectorAll(controls)]
      .filter((element) => !element.matches(nameless) && (isSeen(element) || element.matches("dialog")))
      .filter((element) => !nameOf(element))
      .map(called);
  };

  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext("2d", { willReadFrequently: true });

  /** Any colour that CSS can name, as red, green, blue (0 to 255) and alpha (0 to 1). */
  const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };

  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];

  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };

  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);

  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };

  const without = ":disabled, [aria-disabled=true]";

  const faintTexts = () => {
    const faults = [];
    for (const element of document.querySelectorAll("body *")) {
      const says = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!says || !isSeen(element) || element.closest(`${without}, [aria-hidden=true]`)) continue;
      const style = getComputedStyle(element);
      const ground = behind(element);
      const ratio = contrast(over(rgba(style.color), ground), ground);
      const size = parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      if (ratio < (isLarge ? 3 : 4.5)) faults.push(`${ratio.toFixed(2)}: ${called(element)}`);
    }
    return faults;
  };

  const faintIcons = () => {
    const faults = [];
    for (const icon of document.querySelectorAll("button .icon, a .icon")) {
      const colour = rgba(getComputedStyle(icon).color);
      // What only shows under the mouse or the focus has no colour of its own meanwhile.
      if (!isSeen(icon) || colour[3] === 0 || icon.closest(without)) continue;
      const control = icon.closest("button, a");
      const ground = behind(control);
      const ratio = contrast(over(colour, ground), ground);
      if (ratio < 3) faults.push(`${ratio.toFixed(2)}: icon of ${called(control)}`);
    }
    return faults;
  };

  const faint = () => [...new Set([...faintTexts(), ...faintIcons()])];

  const small = (size) => {
    const faults = [];
    for (const element of document.querySelectorAll("a, button, input:not([type=hidden]), textarea, summary")) {
      // Links within a text, and ticks that show a state.
      if (!isSeen(element) || element.closest(".content a, p a, .content input, .skip")) continue;
      // A label takes the press for what is inside it.
      const { width, height } = (element.closest("label") ?? element).getBoundingClientRect();
      if (Math.min(width, height) >= size - 0.5) continue;
      faults.push(`${Math.round(width)}×${Math.round(height)}: ${called(element)}`);
    }
    return faults;
  };

  const wide = () => {
    const root = document.documentElement;
    const faults = root.scrollWidth > root.clientWidth ? [`the page is ${root.scrollWidth} px wide`] : [];
    const scrollers = "pre, table, math, textarea, figure, [class*=table], [class*=math]";
    const elsewhere = `${scrollers}, svg, #sidebar, .menu, dialog, .visually-hidden, .skip`;
    for (const element of document.querySelectorAll("body *")) {
      const overflows = element.scrollWidth > element.clientWidth + 1;
      const mayScroll = /auto|scroll/.test(getComputedStyle(element).overflowX);
      if (overflows && mayScroll && !element.closest(scrollers)) faults.push(`scrolls sideways: ${called(element)}`);
      const box = element.getBoundingClientRect();
      const isOut = box.width > 0 && box.right > root.clientWidth + 1 && element.checkVisibility();
      if (isOut && !element.closest(elsewhere)) faults.push(`ends at ${Math.round(box.right)} px: ${called(element)}`);
    }
    return faults;
  };

  return { unnamed, faint, small, wide }[look](argument);
}
