// A log sink that keeps what was written, for assertions. Lines over `info` that a test did not expect are its failure.

public import PosternMail
import Synchronization

public final class RecordingLog: LogSink {
    private let kept = Mutex<[LogEvent]>([])

    public init() {}
    public func write(_ event: LogEvent) { kept.withLock { $0.append(event) } }

    public var events: [LogEvent] { kept.withLock { $0 } }

    /// The lines as text, oldest first.
    public var lines: [String] {
        events.map { event in
            switch event {
            case .outcome(let line): "\(line)"
            case .note(_, let text): text
            }
        }
    }

    /// Texts of the notes from `warning` up.
    public var warnings: [String] {
        events.compactMap { event in
            if case .note(let level, let text) = event, level >= .warning { text } else { nil }
        }
    }
}
