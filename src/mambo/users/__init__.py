"""The tables of people and the queries on them."""
