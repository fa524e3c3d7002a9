// Keeps the cache over a restart: reads the snapshot at the start, writes it every few minutes and at the stop. Whatever
// is wrong with the file costs a cold cache and one warning, never the start.

import Glibc
import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail
import PosternSocket
import Synchronization

final class SnapshotKeeper: Sendable {
    private let file: StateFile
    private let server: ForwarderServer
    private let log: any LogSink
    private let now: @Sendable () -> UnixTime
    private let state = Mutex(State())
    /// Ends the wait.
    private let early: WakePipe

    private struct State {
        var isStopped = false
        /// Nothing could be written last time, and that was told.
        var isFailing = false
    }

    /// How the last writing went, and when one last went well, in seconds since 1970: told without the lock.
    private let isWorking = Atomic<Bool>(true)
    private let savedSeconds = Atomic<Int64>(0)

    /// In the state folder.
    static let name = "dns.snapshot"
    /// How often it is written: what a crash may cost.
    static let interval = Duration.seconds(300)

    /// - Parameter now: the wall clock.
    init(
        folder: String, server: ForwarderServer, log: any LogSink,
        now: @escaping @Sendable () -> UnixTime = WallClock.now
    ) throws(SocketError) {
        file = StateFile(path: "\(folder)/\(Self.name)")
        self.server = server
        self.log = log
        self.now = now
        early = try WakePipe()
    }

    /// Takes the snapshot's answers into the cache.
    func load() {
        do throws(StateFile.Failure) {
            let octets = try file.read(atMost: CacheSnapshot.maxOctets)
            do throws(CacheSnapshotError) {
                let entries = try CacheSnapshot.entries(in: octets, now: now())
                let count = server.restore(entries)
                log.info("took \(count) answers from \(file.path)")
            } catch {
                log.warning("\(file.path): \(error); beginning with an empty cache")
            }
        } catch {
            if !error.isAbsent { log.warning("\(error); beginning with an empty cache") }
        }
    }

    /// Begins to write it from time to time.
    func start() throws(SocketError) {
        try Thread.start(name: "snapshot") { [self] in
            while wait() { save() }
        }.detach()
    }

    /// - Returns: false when no more is to be done.
    private func wait() -> Bool {
        _ = try? early.wait(until: .after(Self.interval))  // too early does no harm
        early.drain()
        return !state.withLock { $0.isStopped }
    }

    /// Writes it soon: what was forgotten must not come back.
    func saveSoon() {
        early.wake()
    }

    /// How the snapshot's file is, for metrics.
    var gauges: [CounterReading] {
        func reading(_ metric: String, _ value: Int64) -> CounterReading {
            CounterReading(CounterName("postern_store_\(metric)", "store", "snapshot"), UInt64(clamping: value))
        }
        var status = stat()
        let saved = savedSeconds.load(ordering: .relaxed)
        return [reading("working", isWorking.load(ordering: .relaxed) ? 1 : 0)]
            + (lstat(file.path, &status) == 0 ? [reading("octets", Int64(status.st_size))] : [])
            + (saved > 0 ? [reading("saved_timestamp_seconds", saved)] : [])
    }

    /// Writes it for a backup.
    func backup() throws(ControlRefusal) -> ControlAnswer {
        try StateBackup.answer(ofWhole: file.path, log: log) { [self] in
            save()
            return file.isThere
        }
    }

    /// Writes it for the last time.
    func stop() {
        save()
        state.withLock { $0.isStopped = true }
        saveSoon()
    }

    /// Writes it now; called by any thread.
    func save() {
        state.withLock { state in
            guard !state.isStopped else { return }
            do {
                try file.replace { write in
                    var writer = CacheSnapshot.Writer(saved: now())
                    try server.eachSnapshotPart { entries in
                        for entry in entries where !writer.append(entry) { return false }
                        try write(writer.take())
                        return true
                    }
                    try write(writer.finish())
                }
                state.isFailing = false
                isWorking.store(true, ordering: .relaxed)
                savedSeconds.store(now().seconds, ordering: .relaxed)
            } catch {
                if !state.isFailing { log.warning("\(error); the cache will not outlive a restart") }
                state.isFailing = true
                isWorking.store(false, ordering: .relaxed)
            }
        }
    }
}
