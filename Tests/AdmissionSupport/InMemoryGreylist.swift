// A greylist without a file, for tests of whoever asks one. It decides as the daemon's does, and forgets nothing by
// itself: what has expired only counts no more.

public import PosternAdmission
public import PosternMail
import Synchronization

public final class InMemoryGreylist: GreylistLedger {
    private struct State {
        var entries: [GreylistKey: GreylistEntry] = [:]
        var isBroken = false
    }
    private let state = Mutex(State())

    public init() {}

    /// From now on it answers as a ledger without its file does.
    public func breakDown(_ isBroken: Bool = true) { state.withLock { $0.isBroken = isBroken } }

    public func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        state.withLock { state in
            guard !state.isBroken else { return .unavailable }
            let decision = GreylistDecision.make(for: request, times: times, now: now) { state.entries[$0] }
            for row in decision.changes { state.entries[row.key] = row.entry }
            return decision.answer
        }
    }

    public func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        state.withLock { state in
            guard !state.isBroken else { return .unavailable }
            return GreylistDecision.make(for: request, times: times, now: now) { state.entries[$0] }.answer
        }
    }

    public func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage {
        let rows = try working { entries in
            entries.filter { $0.key.octets.starts(with: prefix.utf8) }.map { GreylistPage.Row($0.key, $0.value) }
        }
        let sorted = rows.sorted { $0.key.octets.lexicographicallyPrecedes($1.key.octets) }
        let start = after.flatMap { Int($0.text) } ?? 0
        let page = sorted.dropFirst(start).prefix(limit)
        let end = start + page.count
        return GreylistPage(rows: Array(page), next: end < sorted.count ? GreylistCursor(text: String(end)) : nil)
    }

    public func entry(for key: GreylistKey) throws(GreylistUnavailable) -> GreylistEntry? { try working { $0[key] } }

    public func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable) {
        try working { $0[key] = GreylistEntry.allowed($0[key], now: now) }
    }

    public func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int {
        try working { entries in
            let before = entries.count
            if case .origin(let origin) = key {
                entries = entries.filter { $0.key.origin != origin }
            } else {
                entries[key] = nil
            }
            return before - entries.count
        }
    }

    public func counts() throws(GreylistUnavailable) -> GreylistCounts {
        try working { entries in
            entries.reduce(into: GreylistCounts()) { counts, row in counts.add(1, row.key, row.value) }
        }
    }

    public func adopt(
        _ rows: [GreylistPage.Row], times: GreylistTimes, now: UnixTime
    ) throws(GreylistUnavailable) -> Int {
        try working { entries in
            var count = 0
            for row in rows {
                let before = entries[row.key]
                let after = GreylistEntry.merged(before, row.entry, under: row.key, times: times, now: now)
                guard after != before else { continue }
                entries[row.key] = after
                count += 1
            }
            return count
        }
    }

    private func working<Result: Sendable>(
        _ body: (inout [GreylistKey: GreylistEntry]) -> Result
    ) throws(GreylistUnavailable) -> Result {
        let result: Result? = state.withLock { $0.isBroken ? nil : body(&$0.entries) }
        guard let result else { throw GreylistUnavailable("broken by the test") }
        return result
    }
}
