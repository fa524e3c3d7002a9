// Keeps judged requests for `postern replay`. No request waits for a disk: it leaves its record in memory, and a thread of
// its own writes them, four times a second. What comes faster than that is dropped and counted; mail never waits. Nothing
// is brought to the disk by force but a file that is full: with the power the last seconds may go.

internal import Glibc
public import PosternAdmission
public import PosternMail
internal import PosternSocket
internal import Synchronization

public final class RequestRecorder: Sendable {
    /// Records that wait to be written.
    private struct Waiting {
        /// Each is to be a frame.
        var chunks: [(octets: [UInt8], records: Int)] = []
        var octets = 0
    }

    private let keeper: RecordKeeper
    private let waiting = ShortLock(Waiting())
    private let writer: Mutex<RecordWriter>
    private let log: any LogSink
    private let isOn = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    private let hasThread = Atomic<Bool>(false)
    private let dropped = Atomic<UInt64>(0)
    // The writer's, as it was seen last: who asks for numbers does not wait for a disk that hangs.
    private let written = Atomic<UInt64>(0)
    private let octets = Atomic<Int>(0)

    private static let interval: UInt32 = 250_000  // microseconds
    /// Of what waits: some 30,000 requests.
    private static let maxWaiting = 8 << 20
    /// A chunk that is so long is followed by another.
    private static let fullChunk = 1 << 15

    public init(
        _ keeper: RecordKeeper, folder: String, log: any LogSink, now: @escaping @Sendable () -> UnixTime
    ) {
        self.keeper = keeper
        self.log = log
        writer = Mutex(RecordWriter(keeper, folder: folder, log: log, now: now))
    }

    /// Puts settings in force: of the start, and of each reload.
    public func adopt(_ settings: RecordSettings) {
        let isWanted = settings.keep > .zero
        if !isWanted { isOn.store(false, ordering: .relaxed) }
        withWriter { $0.adopt(settings) }
        guard isWanted else { return }
        if !hasThread.exchange(true, ordering: .relaxed) {
            do throws(SocketError) {
                try Thread.start(name: "records") { [self] in run() }.detach()
            } catch {
                hasThread.store(false, ordering: .relaxed)
                log.warning("\(error); no requests are recorded until the next reload")
                return
            }
        }
        isOn.store(true, ordering: .relaxed)
    }

    /// Whether requests are to be recorded now.
    public var isRecording: Bool { isOn.load(ordering: .relaxed) }

    public func record(_ record: RecordedRequest) {
        var octets: [UInt8] = []
        octets.reserveCapacity(512)
        RecordFormat.append(record, to: &octets)
        let fits = waiting.withLock { waiting in
            guard waiting.octets + octets.count <= Self.maxWaiting else { return false }
            waiting.octets += octets.count
            if let last = waiting.chunks.indices.last, waiting.chunks[last].octets.count < Self.fullChunk {
                waiting.chunks[last].octets += octets
                waiting.chunks[last].records += 1
            } else {
                waiting.chunks.append((octets, 1))
            }
            return true
        }
        if !fits { dropped.wrappingAdd(1, ordering: .relaxed) }
    }

    private func run() {
        while !isStopping.load(ordering: .relaxed) {
            write()
            usleep(Self.interval)
        }
    }

    /// Writes what waits.
    public func write() {
        let chunks = waiting.withLock { waiting in
            let chunks = waiting.chunks
            waiting = Waiting()
            return chunks
        }
        withWriter { writer in
            for chunk in chunks where !writer.write(chunk.octets, records: chunk.records) {
                dropped.wrappingAdd(UInt64(chunk.records), ordering: .relaxed)
            }
            writer.tidy()
        }
    }

    /// Writes what waits, and ends the file.
    public func close() {
        isOn.store(false, ordering: .relaxed)
        isStopping.store(true, ordering: .relaxed)
        write()
        withWriter { $0.close() }
    }

    private func withWriter(_ body: (inout RecordWriter) -> Void) {
        writer.withLock { writer in
            body(&writer)
            written.store(writer.written, ordering: .relaxed)
            octets.store(writer.octets, ordering: .relaxed)
        }
    }

    // MARK: Metrics

    public var counters: [CounterReading] {
        let counts = [("written", written.load(ordering: .relaxed)), ("dropped", dropped.load(ordering: .relaxed))]
        return counts.map { outcome, count in
            CounterReading(CounterName("postern_\(keeper.rawValue)_records_total", "outcome", outcome), count)
        }
    }

    public var gauges: [CounterReading] {
        let octets = octets.load(ordering: .relaxed)
        return [CounterReading(CounterName("postern_\(keeper.rawValue)_records_octets"), UInt64(clamping: octets))]
    }
}
