"""Chromium loads the site of examples/site, and a page that is streamed."""

import os
import pathlib
import shutil
import signal
import subprocess
import time
from urllib.error import HTTPError
from urllib.request import urlopen

from emulator import LIMIT, REPOSITORY, Case

# Writes into the page itself which stylesheet, image and cookie it has.
INSPECT = """
addEventListener("load", () => {
  const image = document.querySelector("img");
  document.body.dataset.colour = getComputedStyle(document.querySelector("h1")).color;
  document.body.dataset.image = `${image.naturalWidth}x${image.naturalHeight}`;
  document.body.dataset.cookie = document.cookie;
});
"""
VISIT_AGAIN = """
addEventListener("load", async () => {
  await fetch("/");
  form.elements.name.value = "once more";
  form.querySelector("button").click();
});
"""
# A page in two halves. The script in the first half calls the function when the browser has laid that half out. Then the
# second half is sent.
PAGE_IN_HALVES = r"""
handler() {
  case $1 in
    *'"rawPath":"/seen"'*)
      lambda_http_response 204
      printf 'seen\n' >"$GATE"
      ;;
    *'"rawPath":"/"'*)
      lambda_http_response --stream 200 'Content-Type: text/html'
      printf '<!DOCTYPE html><title>Halves</title><p id="first">first half</p>%s\n' \
        '<script>fetch("/seen?height=" + document.getElementById("first").offsetHeight)</script>'
      read -r seen <"$GATE"
      printf '<p id="second">second half, %s</p>\n' "$seen"
      ;;
    *) lambda_http_response 404 ;;
  esac
}
"""


class Browser(Case):
    """The page and what it loads."""

    def _serve(self, script=""):
        """Serves the site, with `script` at the end of its script file."""
        site = self.folder()
        shutil.copytree(REPOSITORY / "examples/site", site, dirs_exist_ok=True)
        with open(site / "script.js", "a") as file:
            file.write(script)
        self.emulator = self.serve(site, "function.handler", "--function-url")

    def _page(self):
        """The HTML of the page after its scripts have run."""
        home = self.folder()
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-breakpad"]
        command += ["--no-first-run", f"--user-data-dir={home}", "--virtual-time-budget=10000"]
        browser = subprocess.Popen(
            [*command, "--dump-dom", self.emulator.url],
            env={**os.environ, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        # Processes of the browser outlive it for a moment, and write to the folder.
        self.addCleanup(self._end_group, browser.pid)
        page, errors = browser.communicate(timeout=4 * LIMIT)
        self.assertEqual(browser.returncode, 0, errors)
        return page

    def _end_group(self, group):
        """Kills the rest of a process group, and waits until all its processes have ended."""

        def is_alive(folder):
            try:
                state, _, member_of = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                return False  # it has ended
            return int(member_of) == group and state not in "ZX"

        deadline = time.monotonic() + LIMIT
        while left := [folder.name for folder in pathlib.Path("/proc").glob("[0-9]*") if is_alive(folder)]:
            assert time.monotonic() < deadline, f"still running: {left}"
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.01)

    def the_page_shows_what_its_script_fetched(self):
        self._serve()
        self.assertIn('<p id="greeting">Hello Ada "the Countess" \u2713! Visits: 1.</p>', self._page())

    def the_stylesheet_and_the_image_are_used(self):
        self._serve(INSPECT)
        page = self._page()
        self.assertIn('data-colour="rgb(20, 90, 50)"', page)
        self.assertIn('data-image="40x36"', page)
        # Scripts do not see an HttpOnly cookie.
        self.assertIn('data-cookie=""', page)

    def the_cookie_comes_back_and_is_replaced(self):
        self._serve(VISIT_AGAIN)
        self.assertIn('<p id="greeting">Hello once more! Visits: 2.</p>', self._page())

    def files_have_the_right_types_and_bytes(self):
        self._serve()
        for path, content_type in {
            "page.html": "text/html; charset=utf-8",
            "style.css": "text/css; charset=utf-8",
            "script.js": "text/javascript; charset=utf-8",
            "prompt.png": "image/png",
        }.items():
            url = f"{self.emulator.url}/{path.replace('page.html', '')}"
            with urlopen(url, timeout=LIMIT) as response:
                self.assertEqual(response.headers["Content-Type"], content_type)
                wanted = (REPOSITORY / "examples/site" / path).read_bytes()
                if content_type != "image/png":
                    wanted = wanted.rstrip(b"\n")  # as bash reads a file
                self.assertEqual(response.read(), wanted)

    def the_browser_shows_the_beginning_of_a_page_while_bash_streams_it(self):
        arguments = ("function.handler", "--function-url", "--concurrency", "2", "--env", f"GATE={self.gate()}")
        self.emulator = self.serve({"function.sh": PAGE_IN_HALVES}, *arguments)
        page = self._page()
        self.assertIn('<p id="first">first half</p>', page)
        self.assertIn('<p id="second">second half, seen</p>', page)

    def a_missing_page_is_404(self):
        self._serve()
        with self.assertRaises(HTTPError) as raised:
            urlopen(f"{self.emulator.url}/nowhere?path=/", timeout=LIMIT)
        self.assertEqual(raised.exception.code, 404)
        raised.exception.close()
