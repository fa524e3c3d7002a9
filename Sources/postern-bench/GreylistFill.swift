// Fills a greylist with triplets that wait, before it is loaded: a file that no daemon has open, or a store that
// hosts share. They come in pages by the way of `postern store copy`, since so many decisions would take an hour;
// their keys are those of PolicyLoad's requests, their first tries lie in the last day, evenly.

import Foundation
import Glibc
import PosternAdmission
import PosternMail
import PosternSocket
import PosternStore
import Synchronization

struct GreylistFill: Sendable {
    var rows = 1_000_000
    /// PolicyLoad's `origin`: no load has this one.
    private let origin = "n0"
    /// Of one page: what the file takes in one commit.
    private static let page = 16_384
    /// Of the file, in memory: the hash's index is written at random.
    private static let cacheOctets = 1 << 30
    /// Those that speak to a shared store, which is busy with half of them.
    private static let threads = 4
    private static let times = GreylistTimes(
        delay: .seconds(300), retryWithin: .seconds(172_800), remember: .seconds(35 * 86_400))
    /// Between the oldest first try and now, in milliseconds.
    private static let age = 86_400_000

    /// - Parameter path: of a greylist.sqlite, made when it is not there.
    func fill(file path: String) throws {
        var limits = GreylistStore.Limits()
        limits.entries = max(limits.entries, rows)
        limits.cacheOctets = Self.cacheOctets
        let store = GreylistStore(path: path, limits: limits, log: FillLog(), now: WallClock.now)
        store.open()
        try fill(store, threads: 1)
        store.close()
    }

    /// - Parameter server: whose database 0 takes them.
    func fill(server: StoreURL.Server) throws {
        let store = SharedStore(
            StoreURL(scheme: .redis, servers: [server], master: nil, database: 0),
            StoreSettings(url: nil, timeout: .seconds(30)), log: FillLog())
        // What is copied to a shared store does not come by this host's own ledger: that is not opened.
        let local = GreylistStore(path: "/nonexistent", log: FillLog(), now: WallClock.now)
        try fill(SharedGreylist(store, local: local, log: FillLog()), threads: Self.threads)
    }

    private func fill(_ ledger: some GreylistLedger, threads: Int) throws {
        let start = Date()
        let next = Atomic<Int>(0)
        let added = Atomic<Int>(0)
        let failure = Mutex<String?>(nil)
        let now = WallClock.now()
        DispatchQueue.onThreads(threads) { _ in
            while true {
                let first = next.add(Self.page, ordering: .relaxed).oldValue
                guard first < rows else { return }
                let page = (first..<min(rows, first + Self.page)).map { row($0, now) }
                do {
                    added.add(try ledger.adopt(page, times: Self.times, now: now), ordering: .relaxed)
                } catch {
                    return failure.withLock { $0 = $0 ?? "\(error)" }
                }
            }
        }
        if let text = failure.withLock({ $0 }) { throw BenchError.system(text) }
        let count = added.load(ordering: .relaxed)
        guard count == rows else { throw BenchError.wrongResult("\(count) of \(rows) triplets were new") }
        print("\(count) triplets in \(Commands.format(Date().timeIntervalSince(start), 0)) s")
    }

    private func row(_ number: Int, _ now: UnixTime) -> GreylistPage.Row {
        let triplet = PolicyLoad.Triplet(origin: origin, number: number)
        let (first, second, third) = triplet.client
        let bits = UInt32(11) << 24 | UInt32(first) << 16 | UInt32(second) << 8 | UInt32(third)
        let key = GreylistKey.triplet(
            .client(Network(containing: .v4(bits), prefixLength: 24)), triplet.sender.utf8, triplet.recipient.utf8)
        return GreylistPage.Row(key, GreylistEntry(firstSeen: now + .milliseconds(Self.age * (number - rows) / rows)))
    }
}

/// What goes wrong is on standard error; the rest is nothing to a benchmark.
private struct FillLog: LogSink {
    func write(_ event: LogEvent) {
        guard case .note(let level, let text) = event, level > .info else { return }
        FileHandle.standardError.write(Data("postern-bench: \(text)\n".utf8))
    }
}
