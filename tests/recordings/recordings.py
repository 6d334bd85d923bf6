"""The recordings in docs/recordings are what the programs print today, and pictures that a page can show."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs/recordings"
NAMES = sorted(path.stem for path in FOLDER.glob("*.svg"))
LIMIT = 300
SVG = "{http://www.w3.org/2000/svg}"


class Case(unittest.TestCase):
    """The class by which tests/run finds tests."""


def check(folder, *names):
    return subprocess.run([sys.executable, "-B", folder / "record", "--check", *names], capture_output=True, text=True, timeout=LIMIT)


class Recordings(Case):
    def every_session_prints_what_its_recording_shows(self):
        done = check(FOLDER)
        self.assertEqual(done.returncode, 0, done.stderr)

    def a_session_that_prints_something_else_is_found(self):
        with tempfile.TemporaryDirectory() as parent:
            folder = pathlib.Path(parent) / "docs/recordings"
            shutil.copytree(FOLDER, folder)
            kept = folder / "error.json"
            for before, after in (("ended with status 2", "ended with status 3"), ("No such file", "No such folder")):
                with self.subTest(after):
                    kept.write_text((FOLDER / "error.json").read_text().replace(before, after))
                    # A picture that is not made from the file is stale, too.
                    self.assertEqual(check(folder, "error").returncode, 1)

    def pictures_are_small_and_have_a_text(self):
        self.assertEqual(NAMES, ["compare", "error", "serve", "without-process"])
        for name in NAMES:
            with self.subTest(name):
                text = (FOLDER / f"{name}.svg").read_text()
                self.assertLess(len(text), 60 * 1024)
                picture = xml.etree.ElementTree.fromstring(text)
                self.assertEqual((picture.get("role"), picture.get("aria-labelledby")), ("img", "title text"))
                self.assertGreater(len(picture.find(f"{SVG}title").text), 20)
                self.assertIn("$ ", picture.find(f"{SVG}desc").text)
                # It loads nothing, and shows nothing of this machine.
                self.assertNotRegex(text.replace("http://www.w3.org", ""), r"href|url\(|@import|<script")
                self.assertNotRegex(text, re.escape(tempfile.gettempdir()) + r"|/root|/home|/work")
