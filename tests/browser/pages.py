"""What every page must keep to in a browser: no request, no complaint, no overflow, text that can be read."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 400, "height": 800}}


class Tab:
    """A page, with what it asked for and what it complained about."""

    def __init__(self, browser, path, **context):
        self.context = browser.new_context(**{"viewport": SIZES["wide"], **context})
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.url = Path(path).resolve().as_uri()
        self.page.goto(self.url)

    def close(self):
        """Close it; it must have asked for nothing but itself, and complained of nothing."""
        assert {url for url in self.requests if not url.startswith("data:")} == {self.url}
        assert self.complaints == []
        self.context.close()


OVERFLOW = "document.scrollingElement.scrollWidth <= innerWidth"

LUMINANCE = """
const painter = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = (colour, over) => {
  painter.globalCompositeOperation = 'source-over';
  painter.fillStyle = `rgb(${over.join(' ')})`; painter.fillRect(0, 0, 1, 1);
  painter.fillStyle = colour; painter.fillRect(0, 0, 1, 1);
  return [...painter.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
  .reduce((sum, v, n) => sum + v * [.2126, .7152, .0722][n], 0);
const ratio = (a, b) => { const [x, y] = [light(a), light(b)];
  return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); };
const ground = (element) => {
  const chain = [];
  for (let e = element; e; e = e.parentElement) chain.unshift(getComputedStyle(e).backgroundColor);
  return chain.reduce((below, colour) => rgb(colour, below), [255, 255, 255]);
};
const boxed = (text) => {  // in pictures the ground is the box that the text stands in
  const own = text.getBoundingClientRect();
  const [x, y] = [(own.left + own.right) / 2, (own.top + own.bottom) / 2];
  const box = [...(text.parentElement.querySelectorAll(':scope > rect'))].filter(r => {
    const a = r.getBoundingClientRect();
    return a.left <= x && x <= a.right && a.top <= y && y <= a.bottom;
  });
  const fill = box.map(r => getComputedStyle(r).fill).filter(f => f !== 'none').pop();
  return fill ? rgb(fill, ground(text)) : ground(text);
};
"""

CONTRAST = f"""() => {{ {LUMINANCE}
  const found = [];
  for (const element of document.querySelectorAll('body *')) {{
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())
      || element.matches('input:not([type=range], [type=checkbox], [type=radio])');
    const hidden = element.closest('script, style, title, desc, defs, noscript') || !element.getClientRects().length;
    if (!own || hidden) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement;
    const below = drawn ? boxed(element) : ground(element);
    const value = ratio(rgb(drawn ? style.fill : style.color, below), below);
    const name = element.className.baseVal ?? element.className;
    if (value < 4.5) found.push([element.textContent || element.value, name, value.toFixed(2)]);
  }}
  return found;
}}"""
"""Every text that has less than 4.5 : 1 against what it stands on."""
