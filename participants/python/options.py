"""What both services are told when they are started: flags for what may be seen, the environment for what may not."""

import argparse
import os


def read(about, listen, database, **more):
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--listen", default=listen, help="host:port; port 0 picks a free one")
    options.add_argument("--database", default=database, help="the SQLite file")
    options.add_argument("--coordinator", default="http://127.0.0.1:7070", help="where the coordinator answers")
    options.add_argument("--advertise", help="the address to register, where it is not the one listened on")
    for name, (default, text) in more.items():
        options.add_argument(f"--{name}", default=default, help=text)
    values = options.parse_args()
    values.secret = os.environ.get("AMENDS_PARTICIPANT_SECRET")
    values.token = os.environ.get("AMENDS_TOKEN")
    return values


def text_and_number(body, text, number):
    """Reads {text: "…", number: 1 to 1,000,000} of a body; None where it does not fit."""
    if not isinstance(body, dict):
        return None
    name, count = body.get(text), body.get(number)
    fits = isinstance(name, str) and 1 <= len(name) <= 64 and type(count) is int and 1 <= count <= 1_000_000
    return (name, count) if fits else None
