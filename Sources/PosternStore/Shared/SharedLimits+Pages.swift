// Looking through a shared store's limits, a page at a time (SCAN), for admins and for copies. Only keys under the
// prefix are looked at; the database may be others' too.

public import PosternAdmission
public import PosternMail

extension SharedLimits {
    /// Keys of the database that one step looks at.
    private static let step = 500
    /// Steps of one page: a database of others' keys makes many that are empty.
    private static let maxSteps = 20

    // MARK: For admins

    public func entries(
        onlyOver: Bool, after: String?, limit: Int, now: UnixTime
    ) throws(LimitUnavailable) -> LimitPage {
        // A list that this host's own ledger began goes on there.
        if let after, SharedLimitCursor(text: after) == nil {
            return local.entries(onlyOver: onlyOver, after: after, limit: limit, now: now)
        }
        do throws(StoreFailure) {
            let amounts = amountsByShape
            let page = try page(after: after, atMost: limit) { key, state, time in
                let entry = state.entry(key, amounts: amounts[state.cells.shape] ?? [], at: time)
                return entry.isOver || !onlyOver ? entry : nil
            }
            return LimitPage(entries: page.found, next: page.next)
        } catch {
            guard after == nil else {
                throw LimitUnavailable("the store does not answer: \(error); a new list shows what this host knows")
            }
            return local.entries(onlyOver: onlyOver, after: nil, limit: limit, now: now)
        }
    }

    public func entries(for key: LimitKey, now: UnixTime) throws(LimitUnavailable) -> [LimitEntry] {
        let limits = local.memory.limits
        guard !limits.isEmpty else { return [] }
        do throws(StoreFailure) {
            let names = limits.map { SharedLimitCodec.key(Array($0.shape.text.utf8), key.octets) }
            let (values, time) = try values(names)
            return zip(limits, values).compactMap { limit, value in
                value.flatMap { SharedLimitCodec.state($0, limit.shape, at: time) }
                    .map { $0.entry(key, amounts: limit.amounts, at: time) }
            }
        } catch {
            return local.entries(for: key, now: now)
        }
    }

    private var amountsByShape: [LimitShape: [Int]] {
        Dictionary(local.memory.limits.map { ($0.shape, $0.amounts) }) { first, _ in first }
    }

    // MARK: Pages

    /// - Parameter body: makes what the page holds of one key; nil to leave it out.
    private func page<Found>(
        after: String?, atMost limit: Int, _ body: (LimitKey, LimitState, Int64) -> Found?
    ) throws(StoreFailure) -> (found: [Found], next: String?, time: Int64) {
        var cursor = after.flatMap { SharedLimitCursor(text: $0) } ?? SharedLimitCursor(scan: "0", skip: 0)
        var found: [Found] = []
        var time: Int64 = 0
        for _ in 0..<Self.maxSteps {
            let reply = try store.command(
                [
                    Array("SCAN".utf8), Array(cursor.scan.utf8), Array("MATCH".utf8), SharedLimitCodec.prefix + [0x2A],
                    Array("COUNT".utf8), Array("\(Self.step)".utf8),
                ], within: Self.patience)
            guard let parts = reply.array, parts.count == 2, let next = parts[0].text, let keys = parts[1].array else {
                throw .malformed("SCAN was answered by something else than a page of keys")
            }
            let names = keys.compactMap(\.octets).dropFirst(cursor.skip)
            let (values, read) = try values(Array(names))
            time = read
            for (offset, (name, value)) in zip(names, values).enumerated() {
                guard found.count < limit else {
                    let place = SharedLimitCursor(scan: cursor.scan, skip: cursor.skip + offset)
                    return (found, place.text, time)
                }
                guard let value, let (shape, key) = SharedLimitCodec.parts(name),
                    let state = SharedLimitCodec.state(value, shape, at: time),
                    let one = body(key, state, time)
                else { continue }  // gone since, damaged, or of a later version
                found.append(one)
            }
            guard next != "0" else { return (found, nil, time) }
            cursor = SharedLimitCursor(scan: next, skip: 0)
            guard found.count < limit else { break }
        }
        return (found, cursor.text, time)
    }

    /// The values of keys, and the time.
    private func values(_ keys: [[UInt8]]) throws(StoreFailure) -> ([[UInt8]?], Int64) {
        var commands = [[Array("TIME".utf8)]]
        if !keys.isEmpty { commands.append([Array("MGET".utf8)] + keys) }
        let replies = try store.commands(commands, within: Self.patience)
        guard let time = replies.first.flatMap({ Self.time($0) }) else {
            throw .malformed("TIME was answered by something else than a time")
        }
        let values = keys.isEmpty ? [] : replies.last?.array ?? []
        guard values.count == keys.count else { throw .malformed("MGET was answered with too few values") }
        return (values.map(\.octets), clock ?? time)
    }

    /// Milliseconds from an answer to TIME: seconds and microseconds as text. Nil for anything else.
    static func time(_ reply: StoreReply) -> Int64? {
        let told = reply.array?.compactMap(\.text).compactMap { Int64($0) } ?? []
        guard told.count == 2, let seconds = told.first, let microseconds = told.last,
            (0..<SharedLimitCodec.endOfTime / 1000).contains(seconds), (0..<1_000_000).contains(microseconds)
        else { return nil }
        return seconds * 1000 + microseconds / 1000
    }
}

// MARK: Copies

extension SharedLimits: LimitCopying {
    /// Keys that one call puts in.
    private static let mergeBatch = 64

    public func rows(after: String?, atMost limit: Int, now: UnixTime) throws(LimitUnavailable) -> LimitRowPage {
        do throws(StoreFailure) {
            let page = try page(after: after, atMost: limit) { key, state, _ in
                LimitRow(
                    shape: state.cells.shape, key: key, last: state.cells.last, blockedUntil: state.blockedUntil,
                    isBlockedByAdmin: state.isBlockedByAdmin, words: state.cells.words)
            }
            return LimitRowPage(rows: page.found, time: page.time, next: page.next)
        } catch {
            throw LimitUnavailable("the store does not answer: \(error)")
        }
    }

    public func merge(_ page: LimitRowPage, now: UnixTime) throws(LimitUnavailable) -> Int {
        do throws(StoreFailure) {
            let (_, time) = try values([])
            let shift = LimitRow.shift(from: page.time, to: time)
            var counting = 0
            var rest = page.rows[...]
            while !rest.isEmpty {
                var call = SharedLimitCall()
                for row in rest.prefix(Self.mergeBatch).map({ $0.shifted(by: shift) }) {
                    guard let cells = LimitCells(row) else { continue }
                    guard
                        row.blockedUntil > time
                            || row.shape.spans.indices.contains(where: { cells.used($0, at: time) > 0 })
                    else { continue }
                    counting += 1
                    call.append(
                        { number in
                            .meet(
                                key: number, cells: cells, sum: false, blockedUntil: row.blockedUntil,
                                byAdmin: row.isBlockedByAdmin)
                        }, row.shape, row.key)
                }
                rest = rest.dropFirst(Self.mergeBatch)
                guard !call.keys.isEmpty else { continue }
                let argument = call.argument(nil, now: clock, writes: true)
                _ = try store.run(SharedLimitScript.decide, keys: call.keys, arguments: [argument])
            }
            return counting
        } catch {
            throw LimitUnavailable("the store does not answer: \(error)")
        }
    }
}

extension LimitStore: LimitCopying {
    public func rows(after: String?, atMost limit: Int, now: UnixTime) -> LimitRowPage {
        memory.rows(after: after, atMost: limit, now: now)
    }

    public func merge(_ page: LimitRowPage, now: UnixTime) -> Int { memory.merge(page, now: now) }
}

/// Where a page begins: SCAN's own cursor, and how many of its keys were on the page before.
struct SharedLimitCursor {
    let scan: String
    let skip: Int

    init(scan: String, skip: Int) {
        self.scan = scan
        self.skip = skip
    }

    init?(text: String) {
        let parts = text.split(separator: ":")
        guard parts.count == 3, parts[0] == "scan", let cursor = UInt64(parts[1]), let skip = Int(parts[2]), skip >= 0
        else { return nil }
        scan = "\(cursor)"
        self.skip = skip
    }

    var text: String { "scan:\(scan):\(skip)" }
}
