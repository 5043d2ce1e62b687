"""Data for the examples: a web server's access log and a table of orders, of any length.

The same kind, length and seed give the same bytes on every machine. Both are as data is in life: about one line in a
hundred of the log is no request at all, and the table has empty fields, quotes, and a line break inside a field.

Run it:   python examples/data.py access-log 200000 > /tmp/access.log
          python examples/data.py orders 50000 > /tmp/orders.csv
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from datetime import datetime, timedelta, timezone
from typing import Iterator, TextIO

PAGES = ("/", "/tea/oolong", "/tea/sencha", "/tea/assam", "/cups", "/cart", "/search?q=green+tea", "/static/site.css")
STATUSES = ("200",) * 88 + ("301",) * 3 + ("304",) * 4 + ("404",) * 4 + ("500",)
NOISE = (r'198.51.100.7 - - "\x16\x03\x01" 400', "-", "", "server restarted", "203.0.113.9 - - [02/Jan/2026:04:05")
BEGIN = datetime(2026, 1, 2, tzinfo=timezone.utc)

COLUMNS = ("order_id", "customer", "country", "quantity", "price", "discount")
CUSTOMERS = ("Ada Byron", "Brown, Bo", 'Cem "Jim" Ak', "Dörte Öz", "Ed\nsecond line", "Fu Li")
COUNTRIES = ("DE", "FR", "IN", "JP", "TR", "")


def access_log(lines: int, dice: random.Random) -> Iterator[str]:
    """The lines of a log in the Common Log Format, in order of time."""
    for number in range(lines):
        if dice.random() < 0.01:
            yield dice.choice(NOISE)
            continue
        address = f"203.0.113.{dice.randrange(256)}"
        time = (BEGIN + timedelta(seconds=number // 10)).strftime("%d/%b/%Y:%H:%M:%S +0000")
        status = dice.choice(STATUSES)
        size = "-" if status == "304" else dice.randrange(200, 50_000)
        yield f'{address} - - [{time}] "GET {dice.choice(PAGES)} HTTP/1.1" {status} {size}'


def orders(rows: int, dice: random.Random) -> Iterator[tuple[object, ...]]:
    """The rows of a table of orders; about half of the discounts and some of the countries are empty."""
    for number in range(1, rows + 1):
        price = f"{dice.randrange(100, 100_000) / 100:.2f}"
        discount = f"{dice.randrange(1, 30) / 100:.2f}" if dice.random() < 0.5 else ""
        yield number, dice.choice(CUSTOMERS), dice.choice(COUNTRIES), dice.randrange(1, 20), price, discount


def write(kind: str, length: int, seed: int, file: TextIO) -> None:
    """Write data of this kind, as long as asked."""
    dice = random.Random(seed)
    if kind == "access-log":
        file.writelines(f"{line}\n" for line in access_log(length, dice))
    else:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(orders(length, dice))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write data for the examples to stdout.")
    parser.add_argument("kind", choices=("access-log", "orders"))
    parser.add_argument("length", type=int, help="how many lines or rows")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    write(options.kind, options.length, options.seed, sys.stdout)


if __name__ == "__main__":
    main()
