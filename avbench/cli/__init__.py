"""The command line: parses, prints, exits; the only room that does. A file for each group of verbs.

What a program may want to read goes to stdout; progress, notices and errors go to stderr. Each command imports
its verb inside, so that `--help` and `table` stay instant.
"""

from __future__ import annotations

import sys
import traceback

import click

from ..errors import AvbenchError
from .care import audit, describe, doctor, ls, selftest
from .compare import compare, power
from .gate import gate
from .line import demo, generate, score
from .published import check_published, published
from .shared import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_USAGE, say
from .study import study
from .table import table
from .weights import weights

__all__ = ["app", "main"]


def main() -> None:
    """The console script. Exit codes: 0 ok, 1 failed check, 2 usage, 3 incomparable, 4 incomplete, 70 internal, 130 stopped."""
    try:
        sys.exit(app.main(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        say("stopped; the same command continues from here.")
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AvbenchError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:  # a file that may not be read, a machine without memory: nothing that a report would mend
        say(f"error: {error.filename or 'the system'}: {error.strerror or error}.")
        sys.exit(EXIT_USAGE)
    except Exception:
        traceback.print_exc()
        say("error: this is a fault of avbench; please report it with the lines above.")
        sys.exit(EXIT_INTERNAL)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="avbench", message="%(package)s %(version)s")
def app() -> None:
    """Measures how well a model makes a given person (a face and a voice) say given words in a given place.

    split → generate → score → table. Each step leaves files, and the same command continues after a stop.
    """


COMMANDS = (
    *(demo, generate, score, table, compare, power, gate, study, published, check_published),
    *(audit, ls, describe, doctor, selftest, weights),
)
for command in COMMANDS:
    app.add_command(command)
