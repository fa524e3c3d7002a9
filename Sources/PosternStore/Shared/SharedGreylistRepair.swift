// What a shared store has lost, and gets back. One that was killed comes back with what it knew an hour ago, or with
// nothing, perhaps between two decisions, so that nobody notices. Each host leaves a pulse in it every few seconds: where an
// older one is found than was left, all that the host's own greylist has learnt since goes back into the store, while
// decisions go on. Other hosts do the same with what they know. What is lost of the time between two pulses only is not
// noticed, nor what a Sentinel's new master did not have yet: some of those who came first then wait once more.

import Glibc
import PosternAdmission
import PosternMail

struct SharedGreylistRepair {
    enum Pulse { case failed, asLeft, older }

    private let store: SharedStore
    private let local: GreylistStore
    private let log: any LogSink
    private let clock: SharedGreylist.Clock
    private let interval: Duration
    private let key: [UInt8]

    /// What the pulse said that was left last, by the store's clock.
    private var left: Int64?
    private var next: StoreDeadline?
    /// Where sending back goes on, and since when entries must have changed for it; nil for all.
    private var restoring: (since: Int64?, after: GreylistCursor?)?
    /// The outage that is being mended, and since when the store works.
    private var mending: (outage: UInt64, since: StoreDeadline)?

    /// Rows of one page, and pages of one round, with a pause for others after each.
    private static let (pageRows, maxPages) = (2048, 4)
    private static let pause: UInt32 = 3000  // microseconds

    init(
        _ store: SharedStore, _ local: GreylistStore, log: any LogSink, clock: SharedGreylist.Clock, interval: Duration
    ) {
        (self.store, self.local, self.log, self.clock, self.interval) = (store, local, log, clock, interval)
        key = SharedGreylistEntry.pulseKey(UInt64.random(in: 0 ... .max))
    }

    /// The store has been away, and works.
    mutating func sees(outage: UInt64) {
        guard mending?.outage != outage else { return }
        mending = (outage, StoreDeadline.now())
        next = nil
    }

    /// Leaves a pulse, if it is time, and looks at the one before.
    mutating func pulse(_ now: UnixTime) -> Pulse {
        let time = StoreDeadline.now()
        if let next, time < next { return .asLeft }
        let reply: StoreReply
        do throws(StoreFailure) {
            reply = try store.run(SharedGreylistScripts.pulse, keys: [key], arguments: [clock.argument(now)])
        } catch {
            return .failed  // the store has told why
        }
        guard let values = reply.array, let new = values.last?.integer,
            values.allSatisfy({ $0.integer.map { (0...SharedGreylistEntry.maxMilliseconds).contains($0) } ?? true })
        else { return .failed }
        next = StoreDeadline(nanoseconds: time.nanoseconds &+ interval.nanoseconds)
        defer { left = new }
        let found = values.first?.integer
        guard let left, found.map({ $0 < left }) ?? true else { return .asLeft }
        if restoring == nil {
            log.info(
                "store \(store.url): it has lost what it knew"
                    + (found.map { " of the last \((new - min(new, $0)) / 1000) s" } ?? "")
                    + "; it gets back what this host's greylist has")
        }
        // What was lost before and is not all back yet still counts.
        let before = restoring.map { $0.since ?? .min } ?? .max
        let since = min(before, found ?? .min)
        restoring = (since == .min ? nil : since, nil)
        mending = (store.outages, time)
        return .older
    }

    /// Sends back what the store has lost, some pages of it.
    /// - Returns: how many entries it has taken in, and whether that is all for now.
    mutating func restore(_ times: GreylistTimes, _ now: UnixTime) -> (count: Int, isAll: Bool) {
        var count = 0
        for _ in 0..<Self.maxPages {
            guard let (since, after) = restoring else { return (count, true) }
            do throws(GreylistUnavailable) {
                let page = try local.entries(withPrefix: "", after: after, limit: Self.pageRows)
                let rows = page.rows.filter { row in
                    since.map { max(row.entry.firstSeen, row.entry.lastSeen).milliseconds >= $0 } ?? true
                }
                count += try SharedGreylist.adopt(rows, into: store, times, clock.argument(now))
                restoring = page.next.map { (since, $0) }
            } catch {
                return (count, true)  // told where it was found; it goes on from there
            }
            usleep(Self.pause)
        }
        return (count, restoring == nil)
    }

    /// The outage whose traces are mended: everything is back, and whoever was to wait then has come again.
    mutating func ended(after delay: Duration) -> UInt64? {
        guard restoring == nil, let mending,
            StoreDeadline.now().nanoseconds &- mending.since.nanoseconds >= delay.nanoseconds
        else { return nil }
        self.mending = nil
        return mending.outage
    }

    /// The process ends: its pulse goes.
    func end() {
        guard left != nil, store.isWorking else { return }
        _ = try? store.command([Array("DEL".utf8), key])  // else it expires some day
    }
}
