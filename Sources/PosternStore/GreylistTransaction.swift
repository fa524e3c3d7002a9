// Greylisting's entries within one transaction: found, written, counted and removed. What is decided about them is
// PosternAdmission's.

import PosternAdmission
import PosternMail

/// Used by one thread, while the transaction lasts.
struct GreylistTransaction {
    private let database: Database
    private let hash: SipHash
    private(set) var counts: GreylistCounts
    private let countsBefore: GreylistCounts
    /// Rows that were found, so that they are changed without another search.
    private var rows: [GreylistKey: (id: Int64, entry: GreylistEntry)] = [:]

    init(_ database: Database) throws(DatabaseError) {
        var secret: [UInt8] = []
        var counts = GreylistCounts()
        try database.run("SELECT secret, waiting, passed, clients, domains FROM state LIMIT 1") { row in
            secret = row.octets(0)
            counts = GreylistCounts(
                waiting: Int(clamping: row.integer(1)), passed: Int(clamping: row.integer(2)),
                clients: Int(clamping: row.integer(3)), domains: Int(clamping: row.integer(4)))
        }
        guard let hash = SipHash(key: secret) else {
            throw DatabaseError(.damaged, "expected a secret of 16 octets, found \(secret.count)", operation: "begin")
        }
        self.database = database
        self.hash = hash
        self.counts = counts
        countsBefore = counts
    }

    /// To be called last.
    func end() throws(DatabaseError) {
        guard counts != countsBefore else { return }
        try database.run(
            "UPDATE state SET waiting = ?1, passed = ?2, clients = ?3, domains = ?4",
            [.integer(counts.waiting), .integer(counts.passed), .integer(counts.clients), .integer(counts.domains)])
    }

    mutating func entry(for key: GreylistKey) throws(DatabaseError) -> GreylistEntry? {
        if let row = rows[key] { return row.entry }
        let octets = key.octets
        var found: (id: Int64, entry: GreylistEntry)?
        try database.run(
            """
            SELECT id, first_seen, last_seen, passed_since, allowed, triplets, networks FROM entry
            WHERE hash = ?1 AND key = ?2
            """, [hashValue(octets), .octets(octets)]
        ) { row in found = (row.integer(0), GreylistEntry(row, from: 1)) }
        if let found { rows[key] = found }
        return found?.entry
    }

    /// - Parameter key: was looked for before.
    mutating func write(_ entry: GreylistEntry, for key: GreylistKey) throws(DatabaseError) {
        let octets = key.octets
        let values: [Database.Value] = [
            hashValue(octets), .octets(octets), .integer(Self.kind(key, entry)), .integer(entry.firstSeen.milliseconds),
            .integer(entry.lastSeen.milliseconds), entry.passedSince.map { .integer($0.milliseconds) } ?? .null,
            .flag(entry.isAllowed), .integer(entry.passedTriplets),
            entry.networks.isEmpty ? .null : .text(entry.networks.map(\.description).joined(separator: ",")),
        ]
        if let row = rows[key] {
            try database.run(
                """
                UPDATE entry SET kind = ?3, first_seen = ?4, last_seen = ?5, passed_since = ?6, allowed = ?7,
                    triplets = ?8, networks = ?9
                WHERE id = ?10 AND hash = ?1 AND key = ?2
                """, values + [.integer(row.id)])
            counts.add(-1, key, row.entry)
            rows[key] = (row.id, entry)
        } else {
            try database.run(
                """
                INSERT INTO entry (hash, key, kind, first_seen, last_seen, passed_since, allowed, triplets, networks)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                """, values)
            rows[key] = (database.lastRowID, entry)
        }
        counts.add(1, key, entry)
    }

    mutating func remove(_ key: GreylistKey) throws(DatabaseError) -> Bool {
        guard let entry = try entry(for: key), let row = rows.removeValue(forKey: key) else { return false }
        try database.run("DELETE FROM entry WHERE id = ?1", [.integer(row.id)])
        counts.add(-1, key, entry)
        return true
    }

    /// Removes the oldest triplets that wait: for room.
    mutating func removeWaiting(_ count: Int) throws(DatabaseError) -> Int {
        try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind = 0 ORDER BY first_seen LIMIT ?1)
            RETURNING kind
            """, [.integer(count)])
    }

    /// Removes what has expired.
    mutating func removeExpired(_ times: GreylistTimes, now: UnixTime, atMost count: Int) throws(DatabaseError) -> Int {
        let waiting = try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind = 0 AND first_seen < ?1
                ORDER BY first_seen LIMIT ?2) RETURNING kind
            """, [.integer((now + (.zero - times.retryWithin)).milliseconds), .integer(count)])
        // What lies further in the future than it may wait was written while the clock was wrong.
        let astray = try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind = 0 AND first_seen > ?1
                ORDER BY first_seen LIMIT ?2) RETURNING kind
            """, [.integer((now + times.retryWithin).milliseconds), .integer(count)])
        let known = try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind > 0 AND allowed = 0 AND last_seen < ?1
                ORDER BY last_seen LIMIT ?2) RETURNING kind
            """, [.integer((now + (.zero - times.remember)).milliseconds), .integer(count)])
        return max(waiting, astray, known)
    }

    /// Removes a client's or domain's triplets among the rows with these numbers.
    mutating func removeTriplets(of origin: GreylistOrigin, in range: Range<Int64>) throws(DatabaseError) -> Int {
        let octets = Array(origin.description.utf8)
        return try remove(
            """
            DELETE FROM entry WHERE id >= ?1 AND id < ?2 AND key > ?3 AND key < ?4 AND kind < 2 RETURNING kind
            """,
            [.integer(range.lowerBound), .integer(range.upperBound), .octets(octets + [0]), .octets(octets + [1])])
    }

    private mutating func remove(
        _ statement: StaticString, _ values: [Database.Value]
    ) throws(DatabaseError) -> Int {
        var removed = GreylistCounts()
        try database.run(statement, values) { row in
            switch row.integer(0) {
            case 0: removed.waiting += 1
            case 1: removed.passed += 1
            case 2: removed.clients += 1
            default: removed.domains += 1
            }
        }
        rows.removeAll(keepingCapacity: true)  // some of them may be gone
        counts.waiting -= removed.waiting
        counts.passed -= removed.passed
        counts.clients -= removed.clients
        counts.domains -= removed.domains
        return removed.waiting + removed.passed + removed.clients + removed.domains
    }

    private func hashValue(_ octets: [UInt8]) -> Database.Value {
        .integer(Int64(bitPattern: hash(octets)))
    }

    private static func kind(_ key: GreylistKey, _ entry: GreylistEntry) -> Int {
        switch key {
        case .normalTriplet: entry.isKnown ? 1 : 0
        case .origin(.client): 2
        case .origin(.domain): 3
        }
    }
}

extension GreylistEntry {
    /// From the columns first_seen to networks.
    init(_ row: Database.Row, from column: Int32) {
        self.init(
            firstSeen: UnixTime(milliseconds: row.integer(column)),
            lastSeen: UnixTime(milliseconds: row.integer(column + 1)),
            passedSince: row.optionalInteger(column + 2).map { UnixTime(milliseconds: $0) },
            isAllowed: row.integer(column + 3) != 0,
            passedTriplets: Int(clamping: row.integer(column + 4)),
            networks: row.text(column + 5).split(separator: ",").prefix(GreylistDecision.domainNetworks)
                .compactMap { try? Network(String($0)) })  // damaged: it must be seen again
    }
}

extension UnixTime {
    init(milliseconds: Int64) {
        let (nanoseconds, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        self.init(nanoseconds: overflow ? (milliseconds < 0 ? .min : .max) : nanoseconds)
    }

    /// Rounded towards zero.
    var milliseconds: Int64 { nanoseconds / 1_000_000 }
}
