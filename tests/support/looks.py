"""How a page looks to everybody: whether it fits, whether it can be read, and what axe says."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.browser import Page
from tests.support.npm import installed

AXE = "4.10.3"

_CONTRAST = """
(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((each) => {
      each /= 255;
      return each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  for (const each of document.querySelectorAll("body *")) {
    const texts = [...each.childNodes].filter((node) => node.nodeType === 3 && node.nodeValue.trim());
    if (!texts.length || ["SCRIPT", "NOSCRIPT"].includes(each.nodeName)) continue;
    let back = each;
    const clear = () => parts(getComputedStyle(back).backgroundColor)[3] === 0;
    while (back.parentElement && clear()) back = back.parentElement;
    const [a, b] = [light(getComputedStyle(each).color), light(getComputedStyle(back).backgroundColor)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (!(contrast >= 4.5)) poor.push(`${each.nodeName} "${each.textContent}" ${contrast}`);
  }
  return poor;
})()
"""

_FINDINGS = """
axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(
  (found) => found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.html).join()}`)
)
"""


def keep(page: Page, name: str) -> None:
    """A screenshot for people to look at, if C{LANRELAY_SCREENSHOTS} names a folder for them."""
    kept = os.environ.get("LANRELAY_SCREENSHOTS")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        page.screenshot(Path(kept) / f"{name}.png")


def too_wide(page: Page, width: int) -> list[str]:
    """What is not within C{width}; first of all how wide the page itself is, if that is another."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('main *')].filter("
        "  each => each.checkVisibility() && !each.closest('thead, .hidden, .label, svg')"
        f"  && each.getBoundingClientRect().right > {width}"
        ").map(each => each.outerHTML)"
    )
    whole = page.evaluate("document.documentElement.scrollWidth")
    return found if whole == width else [f"the page is {whole} wide", *found]


def poor_contrast(page: Page) -> list[str]:
    """Each text whose contrast with what is behind it (WCAG 2.2, 1.4.3) is below 4.5."""
    found: list[str] = page.evaluate(_CONTRAST)
    return found


def findings(page: Page) -> list[str]:
    """What axe says against the page, with where."""
    axe = (installed("axe-core", AXE) / "axe.min.js").read_text("utf-8")
    page.evaluate(f"{axe}; null")
    found: list[str] = page.evaluate(_FINDINGS)
    return found
