// What admins ask of a shared greylist, and copies between ledgers. The store has no order and no index of a client's
// triplets: an index would cost a third more memory for each of millions, for what is asked once in a week. So lists, and
// what is forgotten with all its triplets, go over the store's keys with SCAN, in steps of a millisecond of its time;
// a key that moves meanwhile may be told twice, none that stays is left out. Counts are an estimate where there are many.
//
// Without the store these have no answer: what this host knows alone is not what was asked.

public import PosternAdmission
public import PosternMail

extension SharedGreylist {
    /// How long one step of an admin's question may take: more than a decision, which somebody's mail waits for.
    private var patience: Duration { store.patience }
    /// Keys that one SCAN looks at.
    private static let scanKeys = 1000
    /// SCANs of one page, each some 300 µs of the store's time.
    private static let maxPageScans = 64
    /// SCANs of one walk over everything: 1,000 million keys.
    private static let maxScans = 1 << 20
    /// Keys that an estimate looks at; a database that has no more is counted.
    static let sampleKeys = 4096
    /// How long an estimate is good for.
    private static let estimateAge = Duration.seconds(60)
    /// How long an admin's forgetting holds against what a host brings that was cut off.
    private static let forgottenFor: Int64 = 366 * 86_400_000

    public func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage {
        var place = after.flatMap { ScanPlace($0.text) } ?? ScanPlace(cursor: 0)
        let limit = max(1, limit)
        let count = prefix.isEmpty ? min(limit, Self.scanKeys) : Self.scanKeys
        for _ in 0..<Self.maxPageScans {
            let (next, keys) = try scan(place.cursor, Self.pattern(Array(prefix.utf8)), count)
            var found = Set(keys).map { (hash: ScanPlace.hash($0), key: $0) }.sorted { $0.hash < $1.hash }
            // The same part of the keys once more: what the page before has told is left out.
            if let told = place.told, told.end == next { found.removeAll { $0.hash <= told.hash } }
            // Those that share a hash stay together.
            let page = found.prefix(limit) + found.dropFirst(limit).prefix { $0.hash == found[limit - 1].hash }
            let rows = try self.rows(page.map(\.key))
            if page.count < found.count, let last = page.last {
                place.told = (next, last.hash)
            } else if next == 0 {
                return GreylistPage(rows: rows, next: nil)
            } else {
                place = ScanPlace(cursor: next)
                if rows.isEmpty { continue }
            }
            return GreylistPage(rows: rows, next: GreylistCursor(text: place.text))
        }
        return GreylistPage(rows: [], next: GreylistCursor(text: place.text))
    }

    public func entry(for key: GreylistKey) throws(GreylistUnavailable) -> GreylistEntry? {
        let reply = try asking([Array("MGET".utf8), SharedGreylistEntry.key(key)])
        return reply.array?.first?.octets.flatMap(SharedGreylistEntry.decode)
    }

    /// Also in this host's own ledger; in other hosts' as soon as mail of it comes to them.
    public func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable) {
        let none = GreylistTimes(delay: .zero, retryWithin: .zero, remember: .zero)  // what is allowed knows none
        _ = try answer { () throws(StoreFailure) in
            try store.runPatiently(
                SharedGreylistScripts.allow, keys: [SharedGreylistEntry.key(key)],
                arguments: Self.head(none, clock.argument(now)))
        }
        try local.allow(key, now: now)
    }

    /// Also in this host's own ledger. Other hosts' keep theirs for when the store is gone, and cannot bring it back.
    public func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int {
        courier.forget(key)
        let reply = try answer { () throws(StoreFailure) in
            try store.runPatiently(
                SharedGreylistScripts.forget, keys: [SharedGreylistEntry.key(key), SharedGreylistEntry.forgottenKey],
                arguments: [
                    clock.argument(courier.lastNow), Self.text(Self.forgottenFor), GreylistRowKey.octets(of: key),
                ])
        }
        var count = min(max(0, Int(clamping: reply.integer ?? 0)), 1)
        if case .origin(let origin) = key {
            let pattern = Self.pattern(Array(origin.description.utf8) + [0])
            var cursor: UInt64 = 0
            for _ in 0..<Self.maxScans {
                let (next, keys) = try scan(cursor, pattern, Self.scanKeys)
                if !keys.isEmpty {
                    count += min(Int(clamping: try asking([Array("UNLINK".utf8)] + keys).integer ?? 0), keys.count)
                }
                cursor = next
                if cursor == 0 { break }
            }
        }
        _ = try local.forget(key)
        courier.forget(key)  // what a decision has told meanwhile
        return count
    }

    /// Exact in a database of up to 4,096 keys. In a larger one an estimate from as many, which is a minute old at most:
    /// of what is a tenth of all it is right within some 10 %, of what is rare it tells little.
    public func counts() throws(GreylistUnavailable) -> GreylistCounts {
        let now = StoreDeadline.now()
        if let last = estimate.withLock({ $0 }), now.nanoseconds - last.at.nanoseconds < Self.estimateAge.nanoseconds {
            return last.counts
        }
        let total = min(try asking([Array("DBSIZE".utf8)]).integer ?? 0, 1 << 40)
        guard total > Self.sampleKeys else { return try sample(from: 0, atMost: Self.maxScans).counts }
        // Keys lie in the order of their hashes: any stretch of them is a fair sample.
        let seen = try sample(from: UInt64.random(in: 0..<1 << 32), atMost: Self.sampleKeys)
        let share = Double(total) / Double(max(1, seen.keys))
        var counts = seen.counts
        for part in [\GreylistCounts.waiting, \.passed, \.clients, \.domains] {
            counts[keyPath: part] = Int((Double(counts[keyPath: part]) * share).rounded())
        }
        let estimated = (counts, now)
        estimate.withLock { $0 = estimated }
        return counts
    }

    /// Counts a stretch of the database's keys, ours and others'.
    private func sample(
        from start: UInt64, atMost limit: Int
    ) throws(GreylistUnavailable) -> (keys: Int, counts: GreylistCounts) {
        var counts = GreylistCounts()
        var seen: Set<[UInt8]> = []
        var cursor = start
        var ends = 0
        for _ in 0..<Self.maxScans {
            let (next, keys) = try scan(cursor, nil, Self.scanKeys)
            for row in try rows(keys.filter { seen.insert($0).inserted }) { counts.add(1, row.key, row.entry) }
            cursor = next
            if cursor == 0 { ends += 1 }
            // From somewhere within the end comes twice.
            if seen.count >= limit || ends == (start == 0 ? 1 : 2) { break }
        }
        return (seen.count, counts)
    }

    // MARK: Copies

    public func adopt(
        _ rows: [GreylistPage.Row], times: GreylistTimes, now: UnixTime
    ) throws(GreylistUnavailable) -> Int {
        try Self.adopt(rows, into: store, times, clock.argument(now))
    }

    /// - Parameter now: an argument of the scripts'.
    static func adopt(
        _ rows: [GreylistPage.Row], into store: SharedStore, _ times: GreylistTimes, _ now: [UInt8]
    ) throws(GreylistUnavailable) -> Int {
        var count = 0
        var rest = rows[...]
        while !rest.isEmpty {
            let some = rest.prefix(SharedGreylistCourier.mergeRows)
            rest = rest.dropFirst(some.count)
            var keys = [SharedGreylistEntry.forgottenKey]
            var arguments = head(times, now)
            for row in some {
                let kind =
                    switch row.key {
                    case .normalTriplet: "t"
                    case .origin(.client): "c"
                    case .origin(.domain): "d"
                    }
                let name = GreylistRowKey.octets(of: row.key)
                keys.append(SharedGreylistEntry.prefix + name)
                arguments += [
                    Array(kind.utf8), SharedGreylistEntry.encode(row.entry), name,
                    GreylistRowKey.octets(of: .origin(row.key.origin)),
                ]
            }
            do throws(StoreFailure) {
                let reply = try store.runPatiently(SharedGreylistScripts.adopt, keys: keys, arguments: arguments)
                count += reply.array?.filter { $0 == .integer(1) }.count ?? 0
            } catch {
                throw GreylistUnavailable("the shared store: \(error)")
            }
        }
        return count
    }

    // MARK: Asking

    private func answer(
        _ body: () throws(StoreFailure) -> StoreReply
    ) throws(GreylistUnavailable) -> StoreReply {
        do throws(StoreFailure) { return try body() } catch {
            throw GreylistUnavailable("the shared store: \(error)")
        }
    }

    private func asking(_ words: [[UInt8]]) throws(GreylistUnavailable) -> StoreReply {
        try answer { () throws(StoreFailure) in try store.command(words, within: patience) }
    }

    /// One step over the keys.
    /// - Parameter pattern: nil for all of the database.
    private func scan(
        _ cursor: UInt64, _ pattern: [UInt8]?, _ count: Int
    ) throws(GreylistUnavailable) -> (next: UInt64, keys: [[UInt8]]) {
        var words = [Array("SCAN".utf8), Array(String(cursor).utf8), Array("COUNT".utf8), Array(String(count).utf8)]
        if let pattern { words += [Array("MATCH".utf8), pattern] }
        let parts = try asking(words).array
        guard let parts, let next = parts.first?.text.flatMap({ UInt64($0) }), let keys = parts.last?.array else {
            throw GreylistUnavailable("the shared store: expected a cursor and keys, found something else")
        }
        return (next, keys.compactMap(\.octets))
    }

    /// The entries under keys of the database's; without those that are not greylisting's, damaged, or gone.
    private func rows(_ keys: [[UInt8]]) throws(GreylistUnavailable) -> [GreylistPage.Row] {
        let ours = keys.compactMap { stored in SharedGreylistEntry.key(stored: stored).map { (stored, $0) } }
        guard !ours.isEmpty else { return [] }
        let values = try asking([Array("MGET".utf8)] + ours.map(\.0)).array ?? []
        return zip(ours, values).compactMap { key, value in
            value.octets.flatMap(SharedGreylistEntry.decode).map { GreylistPage.Row(key.1, $0) }
        }
    }

    /// All keys that begin so. Source: KEYS of the Redis manual, glob-style patterns.
    private static func pattern(_ start: [UInt8]) -> [UInt8] {
        let special = Set("*?[]\\".utf8)
        return (SharedGreylistEntry.prefix + start).flatMap { special.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] }
            + [UInt8(ascii: "*")]
    }
}

extension SharedStore {
    /// What nobody's mail waits for may take longer.
    fileprivate var patience: Duration { max(timeout, .seconds(2)) }

    fileprivate func runPatiently(
        _ script: StoreScript, keys: [[UInt8]], arguments: [[UInt8]]
    ) throws(StoreFailure) -> StoreReply {
        try run(script, keys: keys, arguments: arguments, within: patience)
    }
}

/// Where a list goes on: SCAN's cursor; and where a page could not take all of a step, which of its keys were told.
private struct ScanPlace {
    var cursor: UInt64
    /// Keys up to this hash were told, of a step that ended there. Where the same step ends elsewhere the store has
    /// arranged its keys anew meanwhile: then all of it is told again.
    var told: (end: UInt64, hash: UInt64)?

    init(cursor: UInt64) { self.cursor = cursor }

    init?(_ text: String) {
        let numbers = text.split(separator: ".", maxSplits: 3).map { UInt64($0) }
        guard let cursor = numbers.first ?? nil else { return nil }
        self.cursor = cursor
        if numbers.count == 3, let end = numbers.dropFirst().first ?? nil, let hash = numbers.last ?? nil {
            told = (end, hash)
        }
    }

    var text: String { told.map { "\(cursor).\($0.end).\($0.hash)" } ?? "\(cursor)" }

    /// FNV-1a: only an order.
    static func hash(_ key: [UInt8]) -> UInt64 {
        key.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
