from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pretrain.report.against import Against
from pretrain.report.compare import compare
from pretrain.report.write import write_page, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
    "--v=0",
)

# Tells what reaches beyond the window, which texts are too small, and whether pointing at a curve is answered
LOOK = """
<script>
addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const shown = [...document.querySelectorAll("svg text")].filter((text) => text.getClientRects().length);
  const heights = shown.map((text) => text.getBoundingClientRect().height);
  const strip = document.querySelector(".strips rect");
  strip?.dispatchEvent(new PointerEvent("pointerdown", {bubbles: true}));
  const told = strip?.closest("figure").querySelector("output").textContent ?? "";
  const answer = {width: innerWidth, wide, smallest: Math.min(...heights), told};
  parent.document.body.dataset.answer = JSON.stringify(answer);
});
</script>
"""


def chromium(page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [CHROMIUM, *FLAGS, profile, *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def look(page: Path, width: int) -> dict[str, float | str]:
    """The page in a window of this width, which a frame is and a headless window may not be."""
    inner = html.escape(page.read_text(encoding="utf-8").replace("</body>", LOOK + "</body>"))
    frame = page.with_name("frame.html")
    frame.write_text(
        f'<body><iframe width="{width}" height="800" style="border:0" srcdoc="{inner}"></iframe>'
    )
    ended = chromium(frame, "--virtual-time-budget=5000", "--dump-dom")
    assert not re.findall(r"CONSOLE.*", ended.stderr)
    found = re.search(r'data-answer="([^"]+)"', ended.stdout)
    assert found, ended.stderr[-2000:]
    answer: dict[str, float | str] = json.loads(html.unescape(found[1]))
    return answer


@pytest.mark.parametrize("width", [360, pytest.param(1200, marks=pytest.mark.slow)])
def test_the_page_fits_a_window_and_answers(make_run, width: int) -> None:
    """The console also tells what the page's own policy forbids: to load anything."""
    seen = look(
        write_report(make_run("a-run-with-a-name-that-is-longer-than-a-phone-is-wide", steps=120)), width
    )
    assert seen["width"] == width
    assert seen["wide"] == 0
    assert float(seen["smallest"]) >= 10
    assert str(seen["told"]).startswith("tokens ")


@pytest.mark.slow
def test_a_comparison_fits_a_phone(make_run, tmp_path: Path) -> None:
    runs = [make_run("a", steps=120), make_run("b", steps=60, moe=False)]
    page = write_page(tmp_path / "compare.html", compare(runs, Against.FLOPS).html())
    seen = look(page, 360)
    assert seen["wide"] == 0
    assert str(seen["told"]).startswith("FLOPs ")


@pytest.mark.slow
def test_the_page_prints(make_run, tmp_path: Path) -> None:
    page, pdf = write_report(make_run(steps=120)), tmp_path / "report.pdf"
    chromium(page, f"--print-to-pdf={pdf}")
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 12
