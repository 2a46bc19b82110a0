"""The site builds without a warning, needs nothing of the network, and fits a phone; recipes of the cookbook build."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from generated.rmsnorm import _rmsnorm_resident

ROOT = Path(__file__).parents[2]
RECIPES = re.findall(r"^```fuse\n(.*?)^```", (ROOT / "docs/cookbook.md").read_text(encoding="utf-8"), re.DOTALL | re.M)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

LOADED = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^\s>]*|url\([\"']?https?:[^)]*"
)
"""What a browser would fetch from elsewhere; links that a reader may follow are `<a>`."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built once for all processes of a run."""
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("the extra fusec[docs] is not installed")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    built = folder / "site"
    with FileLock(folder / "site.lock"):
        if not (built / "index.html").is_file():
            command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(built)]
            surroundings = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
            made = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stdout + made.stderr
    return built


@pytest.mark.parametrize("text", RECIPES, ids=lambda text: re.search(r"^op (\w+)", text, re.M)[1])
def test_a_recipe_builds(text: str) -> None:
    assert compile_source(Source("recipe.fuse", text), None)


def test_what_is_known_to_the_kernel_that_debugging_compiles() -> None:
    text = (ROOT / "docs" / "debugging.md").read_text(encoding="utf-8")
    (known,) = re.findall(r"^known = \{(.*)\}$", text, re.MULTILINE)
    types = _rmsnorm_resident.fn.__annotations__
    assert re.findall(r'"(\w+)":', known) == [name for name, type in types.items() if "constexpr" in str(type)]


def test_no_mark_of_markdown_is_left(site: Path) -> None:
    left = re.compile(r"<code>[^<]*\\\|[^<]*</code>|\{\{ \w+")
    assert [path.name for path in sorted(site.rglob("*.html")) if left.search(path.read_text(encoding="utf-8"))] == []


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """`mkdocs build --strict` has held the links of the pages to each other; this is what they load."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "specs").glob("*.fuse")))
    found = {path.name: LOADED.findall(path.read_text(encoding="utf-8")) for path in (*pages, *site.rglob("*.css"))}
    assert {name: loads for name, loads in found.items() if loads} == {}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_pages_fit_a_phone_and_miss_no_picture(site: Path, tmp_path: Path) -> None:
    """Each page is rendered once, in a frame as wide as a phone, and something is searched for in the folder."""
    pages = [
        str(path.relative_to(site))
        for path in sorted(site.rglob("*.html"))
        if path.name not in ("404.html", "probe.html")
    ]
    (site / "probe.html").write_text(PROBE.replace("PAGES", repr(pages)), encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [
        "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files",
        "--virtual-time-budget=60000",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{site}/probe.html"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False).stdout
    told = re.findall(r"<li>(.*?)</li>", shown)
    assert [line for line in told if not line.endswith(": fine")] == []
    assert len(told) == len(pages) + 1


PROBE = """<!doctype html><meta charset="utf-8"><ul id="told"></ul><script>
const pages = PAGES;
function look(frame, page) {
  const inside = frame.contentDocument, root = inside.documentElement, faults = [];
  if (root.scrollWidth > frame.clientWidth) faults.push(`${root.scrollWidth} pixels wide`);
  if (!inside.querySelector("h1")) faults.push("no heading");
  for (const picture of inside.images) if (!picture.naturalWidth) faults.push(`no picture ${picture.src}`);
  tell(page, faults);
}
function tell(page, faults) {
  const line = document.createElement("li");
  line.textContent = `${page}: ${faults.join(", ") || "fine"}`;
  document.getElementById("told").append(line);
}
function find(frame, tries) {
  const found = frame.contentDocument.querySelector(".md-search-result__item");
  if (found || !tries) tell("search", found ? [] : ["nothing is found"]);
  else setTimeout(find, 200, frame, tries - 1);
}
function next() {
  const page = pages.shift() || "index.html?q=rmsnorm";
  const frame = document.createElement("iframe");
  frame.style = "width: 390px; height: 800px; border: 0";
  frame.onload = () => {
    if (page.includes("?")) return find(frame, 50);
    look(frame, page); frame.remove(); next();
  };
  frame.src = page;
  document.body.append(frame);
}
next();
</script>"""
