// Greylisting's rows in the file: found, written, counted and removed. What is decided about them is PosternAdmission's,
// when that happens GreylistWriter's.

import PosternAdmission
import PosternMail

/// Used while the file is held. One transaction of the file's may be served by several of these, one after another.
struct GreylistTransaction {
    private let database: Database
    /// What the file will say that it holds, after `end`.
    private(set) var counts: GreylistCounts

    init(_ database: Database, _ counts: GreylistCounts) {
        self.database = database
        self.counts = counts
    }

    static func state(of database: Database) throws(DatabaseError) -> (hash: SipHash, counts: GreylistCounts) {
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
        return (hash, counts)
    }

    /// To be called last in a transaction.
    func end() throws(DatabaseError) {
        try database.run(
            "UPDATE state SET waiting = ?1, passed = ?2, clients = ?3, domains = ?4",
            [.integer(counts.waiting), .integer(counts.passed), .integer(counts.clients), .integer(counts.domains)])
    }

    func commit() throws(DatabaseError) { try database.commit() }

    static func find(
        _ key: GreylistRowKey, in database: Database
    ) throws(DatabaseError) -> (entry: GreylistEntry?, place: GreylistMemory.Place) {
        var found: (GreylistEntry?, GreylistMemory.Place) = (nil, .none)
        try database.run(
            """
            SELECT id, kind, first_seen, last_seen, passed_since, allowed, triplets, networks FROM entry
            WHERE hash = ?1 AND key = ?2
            """, [key.sqlHash, .octets(key.octets)]
        ) { row in
            found = (GreylistEntry(row, from: 2), .row(id: row.integer(0), kind: Int(clamping: row.integer(1))))
        }
        return found
    }

    /// - Returns: where its row is from now on.
    mutating func write(_ change: GreylistMemory.Change) throws(DatabaseError) -> GreylistMemory.Place {
        let key = change.key
        var place = change.place
        if place == .unknown { place = try Self.find(key, in: database).place }
        guard let entry = change.entry else {
            guard case .row(let id, let kind) = place else { return .none }
            // The number may be another row's by now, if this one was removed.
            try database.run(
                "DELETE FROM entry WHERE id = ?1 AND hash = ?2 AND key = ?3",
                [.integer(id), key.sqlHash, .octets(key.octets)])
            if database.changes > 0 { count(-1, kind) }
            return .none
        }
        let kind = key.kind(of: entry)
        var values: [Database.Value] = [
            key.sqlHash, .octets(key.octets), .integer(kind), .integer(entry.firstSeen.milliseconds),
            .integer(entry.lastSeen.milliseconds), entry.passedSince.map { .integer($0.milliseconds) } ?? .null,
            .flag(entry.isAllowed), .integer(entry.passedTriplets),
            entry.networks.isEmpty ? .null : .text(entry.networks.map(\.description).joined(separator: ",")),
        ]
        if case .row(let id, let kindBefore) = place {
            values.append(.integer(id))
            try database.run(
                """
                UPDATE entry SET kind = ?3, first_seen = ?4, last_seen = ?5, passed_since = ?6, allowed = ?7,
                    triplets = ?8, networks = ?9
                WHERE id = ?10 AND hash = ?1 AND key = ?2
                """, values)
            if database.changes > 0 {
                count(-1, kindBefore)
                count(1, kind)
                return .row(id: id, kind: kind)
            }
            values.removeLast()
        }
        try database.run(
            """
            INSERT INTO entry (hash, key, kind, first_seen, last_seen, passed_since, allowed, triplets, networks)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            """, values)
        count(1, kind)
        return .row(id: database.lastRowID, kind: kind)
    }

    /// Removes the oldest triplets that wait: for room.
    /// - Returns: what is gone.
    mutating func removeWaiting(_ number: Int, _ hash: SipHash) throws(DatabaseError) -> [GreylistRowKey] {
        try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind = 0 ORDER BY first_seen LIMIT ?1)
            RETURNING kind, key
            """, [.integer(number)], hash)
    }

    /// Removes what has expired.
    /// - Parameter number: as many of each kind at most.
    /// - Returns: what is gone, and whether there may be more.
    mutating func removeExpired(
        _ times: GreylistTimes, now: UnixTime, atMost number: Int, _ hash: SipHash
    ) throws(DatabaseError) -> (keys: [GreylistRowKey], isAll: Bool) {
        let waiting = try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind = 0 AND first_seen < ?1
                ORDER BY first_seen LIMIT ?2) RETURNING kind, key
            """, [.integer((now + (.zero - times.retryWithin)).milliseconds), .integer(number)], hash)
        // What lies further in the future than it may wait was written while the clock was wrong.
        let astray = try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind = 0 AND first_seen > ?1
                ORDER BY first_seen LIMIT ?2) RETURNING kind, key
            """, [.integer((now + times.retryWithin).milliseconds), .integer(number)], hash)
        let known = try remove(
            """
            DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE kind > 0 AND allowed = 0 AND last_seen < ?1
                ORDER BY last_seen LIMIT ?2) RETURNING kind, key
            """, [.integer((now + (.zero - times.remember)).milliseconds), .integer(number)], hash)
        let isAll = max(waiting.count, astray.count, known.count) < number
        return (waiting + astray + known, isAll)
    }

    /// Removes a client's or domain's triplets among the rows with these numbers.
    mutating func removeTriplets(
        of origin: [UInt8], in range: Range<Int64>, _ hash: SipHash
    ) throws(DatabaseError) -> [GreylistRowKey] {
        try remove(
            """
            DELETE FROM entry WHERE id >= ?1 AND id < ?2 AND key > ?3 AND key < ?4 AND kind < 2 RETURNING kind, key
            """,
            [.integer(range.lowerBound), .integer(range.upperBound), .octets(origin + [0]), .octets(origin + [1])],
            hash)
    }

    private mutating func remove(
        _ statement: StaticString, _ values: [Database.Value], _ hash: SipHash
    ) throws(DatabaseError) -> [GreylistRowKey] {
        var removed: [GreylistRowKey] = []
        var kinds = [0, 0, 0, 0]
        try database.run(statement, values) { row in
            let kind = min(max(Int(clamping: row.integer(0)), 0), 3)
            kinds[kind] += 1
            let form: GreylistRowKey.Form = kind < 2 ? .triplet : kind == 2 ? .client : .domain
            removed.append(GreylistRowKey(octets: row.octets(1), form: form, hash: hash))
        }
        for (kind, number) in kinds.enumerated() { count(-number, kind) }
        return removed
    }

    private mutating func count(_ number: Int, _ kind: Int) {
        switch kind {
        case 0: counts.waiting += number
        case 1: counts.passed += number
        case 2: counts.clients += number
        default: counts.domains += number
        }
    }
}

extension GreylistCounts {
    var total: Int { waiting + passed + clients + domains }
}

extension GreylistRowKey {
    fileprivate var sqlHash: Database.Value { .integer(Int64(bitPattern: hash)) }

    /// What the column `kind` says.
    fileprivate func kind(of entry: GreylistEntry) -> Int {
        switch form {
        case .triplet: entry.isKnown ? 1 : 0
        case .client: 2
        case .domain: 3
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
