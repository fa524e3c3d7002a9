// The log as a daemon's parts see it: the level, which a reload may change, and a cap on repeats. A fault that every
// message meets says so once a minute, not once a message; how often it came is told afterwards. Outcomes are never
// held back. Keeps the last warning for `postern status`.

import PosternMail
import PosternSocket
import Synchronization

/// What a log counts, whether it was written or held back.
enum LogCounter: Int, CounterSet {
    case warning, error, critical

    var name: CounterName { CounterName("postern_log_messages_total", "level", "\(self)") }

    init?(_ level: LogLevel) {
        switch level {
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        case .debug, .info: return nil
        }
    }
}

final class DaemonLog: LogSink {
    /// Shortest time between two lines of equal text from `warning` up.
    static let repeatInterval = Duration.seconds(60)
    /// Texts that are remembered; with more different ones, the oldest is written again when it comes again.
    static let maxTexts = 256

    /// The warning that came last.
    struct LastWarning: Hashable, Sendable {
        let level: LogLevel
        let text: String
        /// When it came, the last time.
        let time: UnixTime
        /// How often it came in a row.
        let count: Int
    }

    private let sink: any LogSink
    private let clock: @Sendable () -> MonotonicTime
    private let now: @Sendable () -> UnixTime
    let counters = CounterSink<LogCounter>()
    private let least: Atomic<Int>
    private let state = Mutex(State())

    private struct State {
        var held: [String: Held] = [:]
        var last: LastWarning?
    }
    /// A text that was written and is not to be written again before `until`.
    private struct Held {
        let level: LogLevel
        var until: MonotonicTime
        var repeats = 0
    }

    /// - Parameter sink: takes what is to be written; its own level should let everything pass.
    init(
        _ sink: any LogSink, level: LogLevel = .info,
        clock: @escaping @Sendable () -> MonotonicTime = MonotonicTime.now,
        now: @escaping @Sendable () -> UnixTime = WallClock.now
    ) {
        self.sink = sink
        self.clock = clock
        self.now = now
        least = Atomic(level.rawValue)
    }

    /// The log that `[log]` asks for.
    convenience init(_ settings: LogSettings, program: String) {
        var all = settings
        all.level = .debug  // ours decides, since a reload may change it
        self.init(all.makeSink(program: program), level: settings.level)
    }

    var level: LogLevel { LogLevel(rawValue: least.load(ordering: .relaxed)) ?? .info }
    func setLevel(_ level: LogLevel) { least.store(level.rawValue, ordering: .relaxed) }

    var lastWarning: LastWarning? { state.withLock { $0.last } }

    func write(_ event: LogEvent) {
        guard case .note(let level, let text) = event, level >= .warning else { return pass(event) }
        if level < .critical, let counter = LogCounter(level) { counters.count(counter) }  // `tell` counts the others
        guard level < .critical else { return tell(event) }  // we exit: it comes once
        if let event = admit(level, text) { pass(event) }
    }

    /// Writes a line that is never held back: what an admin has just asked for.
    func tell(_ event: LogEvent) {
        if case .note(let level, let text) = event, level >= .warning {
            if let counter = LogCounter(level) { counters.count(counter) }
            let time = now()
            state.withLock { $0.last = Self.counted($0.last, level, text, time) }
        }
        pass(event)
    }

    /// Tells what was held back and is due; called by the main thread now and then.
    func tellRepeats() {
        let moment = clock()
        let due = state.withLock { state in
            var due: [LogEvent] = []
            for (text, held) in state.held where held.until <= moment {
                state.held[text] = nil
                if let event = Self.summary(held, text) {
                    due.append(event)
                    state.held[text] = Held(level: held.level, until: moment + Self.repeatInterval)
                }
            }
            return due
        }
        for event in due { pass(event) }
    }

    private func pass(_ event: LogEvent) {
        if event.level.rawValue >= least.load(ordering: .relaxed) { sink.write(event) }
    }

    /// - Returns: what is to be written: the event, a word on its repeats, or nothing now.
    private func admit(_ level: LogLevel, _ text: String) -> LogEvent? {
        let (moment, time) = (clock(), now())
        return state.withLock { state in
            state.last = Self.counted(state.last, level, text, time)
            var event = LogEvent.note(level, text)
            if var held = state.held[text], held.level == level {
                held.repeats += 1
                if moment < held.until {
                    state.held[text] = held
                    return nil
                }
                if held.repeats > 1, let summary = Self.summary(held, text) { event = summary }
            } else if state.held.count >= Self.maxTexts,
                let oldest = state.held.min(by: { $0.value.until < $1.value.until })
            {
                state.held[oldest.key] = nil
            }
            state.held[text] = Held(level: level, until: moment + Self.repeatInterval)
            return event
        }
    }

    private static func summary(_ held: Held, _ text: String) -> LogEvent? {
        guard held.repeats > 0 else { return nil }
        return .note(held.level, "repeated \(held.repeats) times: \(text)")
    }

    private static func counted(_ last: LastWarning?, _ level: LogLevel, _ text: String, _ time: UnixTime)
        -> LastWarning
    {
        let isSame = last.map { $0.text == text && $0.level == level } ?? false
        return LastWarning(level: level, text: text, time: time, count: isSame ? (last?.count ?? 0) + 1 : 1)
    }
}
