"""The blocks of a page: code and commands between fences, and hidden commands in comments.

The first word behind a fence is the language. What follows it says what the block is:

    ```bash                     the handler's file, function.sh; a command of the page has to call it
    ```bash file orders.sh      a file of this name
    ```bash body                what a function `handler` of function.sh does
    ```sh                       commands; each has to succeed
    ```console                  commands behind `$ `, and below each what it prints
    ```text output              what the block of commands above prints
    ```json output of: COMMAND  what this command prints
    ```text log                 what `coshell serve` has logged
    ```text part of FILE        lines of a file of the repository
    ```dockerfile               a Dockerfile
    ```sh run by FILE: TEXT     another test runs it; TEXT is where to find it there
    ```text not run: REASON     nothing checks it

A comment that begins with `<!-- test` holds a block like `console`.
"""

import re


class Block:
    def __init__(self, language, kind, text, line):
        self.language, self.kind, self.text, self.line = language, kind, text, line


FENCE = re.compile(r" *(`{3,})(\S*) *(.*)")


def blocks(text):
    """The blocks of a page, in their order."""
    found = []
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if line == "<!-- test":
            language, kind, end = "console", "", "-->"
        elif match := FENCE.fullmatch(line):
            end, language, kind = match.groups()
        else:
            continue
        inner = []
        for _, line in lines:
            if line.strip() == end:
                break
            inner.append(line)
        else:
            raise AssertionError(f"line {number}: the block does not end")
        found.append(Block(language, kind, "\n".join(inner) + "\n", number))
    return found


def commands(text):
    """Of a text for a shell, the commands one by one: a line, or several that end in a backslash or belong to one quoted text."""
    found = []
    for line in text.splitlines():
        if found and (found[-1].endswith("\\") or is_open(found[-1])):
            found[-1] += "\n" + line
        elif line and not line.startswith("#"):
            found.append(line)
    return found


def is_open(command):
    """Whether a quoted text or a here-document goes on in the next line."""
    here = re.search(r"<<'?(\w+)'?", command)
    if here:
        return not re.search(rf"(?m)^{here[1]}$", command)
    return len(re.findall(r"(?<!\\)'", re.sub(r'"[^"]*"', "", command))) % 2 == 1


def sessions(text):
    """Of a block `console`, pairs of a command and what it prints."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], ""])
        elif found and (found[-1][0].endswith("\\") or is_open(found[-1][0])) and not found[-1][1]:
            found[-1][0] += "\n" + line
        elif found:
            found[-1][1] += line + "\n"
        else:
            raise AssertionError(f"no command prints this: {line}")
    return found


# What differs from run to run.
VARYING = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<request id>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\d+\.\d+ (µs|ms|s)\b", "<time>"),
    (r"(Billed Duration): \d+ ms", r"\1: <time>"),
    (r"(Memory Used): \d+ MB", r"\1: <size>"),
    (r"\bprocess \d+ ", "process <id> "),
    (r"\d{6,} bytes|\d{6,} unpacked", "<size>"),
    (r"sha256 [\w+/=]{43,44}", "sha256 <sum>"),
    (r" +\n", "\n"),
)


def settled(text):
    """A text without what differs from run to run."""
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text.strip("\n")


def is_shown(shown, printed):
    """Whether a command printed what the page shows. `...` stands for anything in a line, and a line of it for any lines."""
    shown, printed = settled(shown), settled(printed)
    pattern = re.escape(shown).replace(r"\.\.\.", "[^\n]*")
    pattern = re.sub(r"(?:^|(?<=\n))\[\^\n\]\*(?=\n|$)", "(?s:.*)", pattern.replace("\\\n", "\n"))
    return re.fullmatch(pattern, printed) is not None
