"""The database: models, transactions and single statements.

There are three ways to reach it:

`session`       the request's transaction, which commits before the response is built: every write
`Transactions`  short transactions that a service opens itself, because it waits for a vendor or a password hash
`Pool`          single statements without a transaction: pages that are only read, and writes of one statement

A caller that holds a session's connection may wait for one of the pool, never the other way round.
"""
