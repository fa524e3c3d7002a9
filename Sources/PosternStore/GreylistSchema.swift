// How greylisting's entries lie in greylist.sqlite. One table, found by a hash of the key, which makes the index a
// quarter of what the keys themselves would take; a flood of new triplets writes to the end of the table and touches
// only the hash's index at random. The other two indexes are in the order of time, so that what has expired is found
// without a search, what waits apart from what is known. Times are milliseconds since 1970.

enum GreylistSchema {
    /// "PstG".
    static let schema = Schema(applicationID: 0x5073_7447, steps: [version1])

    private static let version1 = """
        CREATE TABLE entry (
            id INTEGER PRIMARY KEY,
            hash INTEGER NOT NULL,       -- SipHash-2-4 of key, with state.secret
            key BLOB NOT NULL,           -- origin, or origin NUL sender NUL recipient
            kind INTEGER NOT NULL,       -- 0 a triplet that waits, 1 one that has passed, 2 a client, 3 a domain
            first_seen INTEGER NOT NULL,
            last_seen INTEGER NOT NULL,
            passed_since INTEGER,
            allowed INTEGER NOT NULL,
            triplets INTEGER NOT NULL,   -- of a domain: how many have passed
            networks TEXT                -- of a domain: where from, between commas
        );
        CREATE INDEX entry_hash ON entry (hash);
        CREATE INDEX entry_waiting ON entry (first_seen) WHERE kind = 0;
        CREATE INDEX entry_known ON entry (last_seen) WHERE kind > 0 AND allowed = 0;
        CREATE TABLE state (
            secret BLOB NOT NULL,
            waiting INTEGER NOT NULL, passed INTEGER NOT NULL, clients INTEGER NOT NULL, domains INTEGER NOT NULL
        );
        INSERT INTO state VALUES (randomblob(16), 0, 0, 0, 0);
        """
}
