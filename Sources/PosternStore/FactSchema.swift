// How facts lie in facts.sqlite, for reports that group them by policy domain, day and source address (RFC 9990).
// A policy is kept once, since a domain publishes the same for months; what SPF and DKIM found are rows of their own.
// Names are in the text form of DomainName, except where a name with odd octets must come back as it was: then in
// wire form. Times are nanoseconds since 1970.

enum FactSchema {
    /// "PstF".
    static let schema = Schema(applicationID: 0x5073_7446, steps: [version1])

    private static let version1 = """
        CREATE TABLE policy (
            id INTEGER PRIMARY KEY,
            domain BLOB NOT NULL,        -- where it is published, wire form
            p TEXT NOT NULL, sp TEXT, np TEXT, adkim TEXT NOT NULL, aspf TEXT NOT NULL, psd TEXT NOT NULL,
            t INTEGER NOT NULL, rua TEXT, ruf TEXT, fo TEXT,
            key BLOB NOT NULL UNIQUE     -- all of the above, so that a policy is found in one look
        );
        CREATE TABLE fact (
            id INTEGER PRIMARY KEY,      -- in the order in which they came
            time INTEGER NOT NULL,
            queue_id TEXT,
            client BLOB NOT NULL,        -- 4 or 16 octets
            policy INTEGER REFERENCES policy (id),
            author BLOB, organizational BLOB, policy_domain BLOB,
            result TEXT NOT NULL, reason TEXT NOT NULL, reason_name BLOB, reason_text TEXT,
            governing TEXT, tag TEXT, applied TEXT NOT NULL,
            aligned_spf BLOB, aligned_dkim BLOB,
            discovery TEXT NOT NULL, disposition TEXT NOT NULL, override TEXT
        );
        CREATE INDEX fact_time ON fact (time);
        CREATE INDEX fact_policy ON fact (policy, time);
        CREATE TABLE spf (
            fact INTEGER NOT NULL REFERENCES fact (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            scope TEXT NOT NULL,         -- 'helo' or 'mfrom', as RFC 9990 has it
            domain BLOB, local BLOB, is_null INTEGER,
            problem TEXT, problem_name BLOB, problem_text TEXT,
            result TEXT NOT NULL, reason TEXT NOT NULL, reason_name BLOB, reason_text TEXT,
            mechanism TEXT, chain BLOB, lookups INTEGER NOT NULL, void_lookups INTEGER NOT NULL, explanation TEXT,
            PRIMARY KEY (fact, position)
        ) WITHOUT ROWID;
        CREATE TABLE dkim (
            fact INTEGER NOT NULL REFERENCES fact (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            domain BLOB, selector BLOB,
            result TEXT NOT NULL, reason TEXT NOT NULL, reason_number INTEGER, reason_text TEXT,
            auid BLOB, algorithm TEXT, key_bits INTEGER, signature TEXT NOT NULL, is_testing INTEGER NOT NULL,
            PRIMARY KEY (fact, position)
        ) WITHOUT ROWID;
        """
}
