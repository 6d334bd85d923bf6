"""What the recordings show. Each session is a function; its name is that of the file, its first line the title."""

import pathlib
import re

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
INVOCATIONS = "localhost:9000/2015-03-31/functions/function/invocations"


def serve(stage):
    """coshell serve answers curl, and takes the new handler when the file is saved"""
    stage.file("function.sh", """\
        handler() {
          lambda_get name .name
          echo "Hello $name!"
        }
        """)
    server, client = stage.pane("server", 10), stage.pane("client", 11)
    client.run("cat function.sh")
    server.start("coshell serve function.handler --watch", until="serving")
    client.run(f"""curl {INVOCATIONS} -d '{{"name": "Ada"}}'""")
    server.expect("REPORT")
    client.run("sed -i 's/Hello/Welcome/' function.sh")
    server.expect("function.sh")
    client.run(f"""curl {INVOCATIONS} -d '{{"name": "Grace"}}'""")
    server.expect("REPORT")


def error(stage):
    """A handler that fails: the error names the command, its place and the calls that led there"""
    stage.file("orders.sh", """\
        handler() {
          lambda_get id .order.id
          total "$id"
        }

        total() {
          grep "^$1," /mnt/orders.csv | cut -d , -f 2
        }
        """)
    shell = stage.pane("", 23)
    shell.run("cat -n orders.sh")
    shell.run("""coshell invoke orders.handler --event '{"order": {"id": 17}}'""")
    shell.run("coshell invoke orders.handler --event '{}'")


def without_process(stage):
    """The same handler with jq and with coshell's functions, which start no process: the median of 20 events"""
    stage.file("with-jq.sh", """\
        handler() {
          bucket=$(echo "$1" | jq -r '.Records[0].s3.bucket.name')
          key=$(echo "$1" | jq -r '.Records[0].s3.object.key')
          jq -n --arg b "$bucket" --arg k "$key" '{bucket: $b, key: $k}'
        }
        """)
    stage.file("function.sh", """\
        handler() {
          lambda_get bucket '.Records[0].s3.bucket.name' key '.Records[0].s3.object.key | @urid_plus'
          lambda_json bucket="$bucket" key="$key"
        }
        """)
    shell = stage.pane("", 18)
    shell.run("cat with-jq.sh")
    shell.run("coshell invoke with-jq.handler --sample s3 --repeat 20 2>&1 >/dev/null | grep p50")
    shell.run("cat function.sh")
    shell.run("coshell invoke function.handler --sample s3; echo")
    shell.run("coshell invoke function.handler --sample s3 --repeat 20 2>&1 >/dev/null | grep p50")


def compare(stage):
    """coshell compare measures the tutorial's bootstrap and coshell's on the same handler"""
    stage.file("function.sh", """\
        handler() {
          echo "$1" >&2
          echo "Echoing request: '$1'"
        }
        """)
    stage.copy("bootstrap.tutorial", REPOSITORY / "bench/baseline/tutorial/bootstrap")
    stage.link("bootstrap", stage.bootstrap)
    shell = stage.pane("", 19)
    shell.run("cat function.sh")
    shell.run(r"""coshell compare --quick --sizes 32 --handler function.sh.handler \
  --runtime tutorial=./bootstrap.tutorial --runtime coshell=./bootstrap |
  grep -A 9 'median '""", is_slow=True)


# What differs from run to run, and with it where a line ends.
VARYING = (
    # A slow machine: the init takes more than 250 ms, or one save looks like two.
    (r"coshell: \S+ is still loading; it will be served at \S+?(?=coshell:)", ""),
    (r"(coshell: \S+ changed, restarting *)+", "RESTART"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r", too few to tell|, no difference|, [\d.]+×", ""),
    (r"\d[\d,.]*", "0"),
    (r" ", ""),
)


def settled(lines):
    """The text without what differs from run to run."""
    text = "".join(lines)
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text


SESSIONS = {function.__name__.replace("_", "-"): function for function in (serve, error, without_process, compare)}
