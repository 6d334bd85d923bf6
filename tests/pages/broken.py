"""Pages with a mistake: each fails, and the failure names the line."""

import pathlib
import tempfile

import pages
from page import is_shown, sessions
from services import Services

HANDLER = '```bash\nhandler() { echo "got $1"; }\n```\n'
CALL = "coshell invoke function.handler --event tea"
# A page, and a part of what its failure says.
BROKEN = {
    HANDLER + f"```console\n$ {CALL}\ngot coffee\n```\n": "4: expected:",
    HANDLER + f"```sh\n{CALL}\n```\n```text output\ngot coffee\n```\n": "7: expected:",
    HANDLER + f"<!-- test\n$ {CALL}\ngot coffee\n-->\n": "4: expected:",
    HANDLER + "```sh\ncoshell invoke function.other --event tea\n```\n": "status 1",
    HANDLER + f"```json output of: {CALL} --json\n" + '{"response": "tea"}\n```\n': "4: it printed:",
    HANDLER: "no command calls function.sh",
    HANDLER + HANDLER: "4: no command calls the function.sh above",
    "```bash\nhandler() { if; }\n```\n": "1: ",
    "```bash file job.sh\necho\n```\n": "no command calls job.sh",
    "```bash body\nno-such-program\n```\n" + f"```sh\n{CALL}\n```\n": "127",
    "```json\n{}\n```\n": "1: nothing says what this block is",
    "```\ntext\n```\n": "1: nothing says what this block is",
    "```text not run:\ntext\n```\n": "1: ",
    "```text not run: no\ntext\n```\n": "1: the reason is missing",
    "```sh run by Makefile: no-such-target\ntrue\n```\n": "1: Makefile has no no-such-target",
    "```text part of Makefile\nno-such-target\n```\n": "1: Makefile differs",
    "```dockerfile\nFORM coshell-runtime\n```\n": "1: FORM is no instruction",
    "```dockerfile\nFROM coshell-maximal\n```\n": "1: there is no image coshell-maximal",
    "```dockerfile\nFROM coshell-minimal\nCMD ['a']\n```\n": "",
    "```python\n1 / 0\n```\n": "ZeroDivisionError",
    "```sh\ncoshell serve function.handler &\n```\n": "1: coshell serve printed:",
    "```sh\nfalse\n": "the block does not end",
}


class Broken(pages.Case):
    @classmethod
    def setUpClass(cls):
        cls.services = Services()
        cls.addClassCleanup(cls.services.stop)

    def _failure(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".md", dir=pages.programs().parent) as file:
            file.write(text)
            file.flush()
            reader = pages.Reader(pathlib.Path(file.name), self, self.services)
            self.addCleanup(reader.stop)
            reader.read()

    def every_mistake_is_found(self):
        for text, part in BROKEN.items():
            with self.subTest(text), self.assertRaises((AssertionError, ValueError)) as raised:
                self._failure(text)
            self.assertIn(part, str(raised.exception))

    def a_page_without_a_mistake_passes(self):
        self._failure(HANDLER + f"```console\n$ {CALL}\ngot tea\n$ false; echo $?\n1\n$ export DRINK=tea\n$ echo $DRINK\ntea\n```\n")

    def dots_stand_for_what_is_left_out(self):
        for shown, printed, expected in (
            ("a...c", "abbc", True),
            ("a...c", "a\nc", False),
            ("a\n...\nc", "a\nb\nb\nc", True),
            ("a.c", "abc", False),
            ("took 1.5 ms", "took 27.31 ms", True),
            ("took 1.5 ms", "took long", False),
        ):
            self.assertEqual(is_shown(shown, printed), expected, (shown, printed))

    def commands_may_have_several_lines(self):
        found = sessions("$ a \\\n  b\nout\n$ cat <<'END'\nin\nEND\n$ c 'd\ne'\n")
        self.assertEqual(found, [["a \\\n  b", "out\n"], ["cat <<'END'\nin\nEND", ""], ["c 'd\ne'", ""]])

    def the_readme_and_the_page_of_the_images_have_the_same_dockerfile(self):
        found = []
        for page in ("README.md", "docs/images.md"):
            text = (pages.REPOSITORY / page).read_text().split("```dockerfile\n")[1].split("```")[0]
            found.append([line for line in text.splitlines() if not line.startswith("#")])
        self.assertEqual(*found)
