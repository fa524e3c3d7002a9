// What a daemon answers on its control socket: `status`, `metrics`, `reload`, and what is the daemon's own. An object that holds
// `error` says why a request was not carried out.

import Glibc
import PosternMail
import PosternSocket

/// The daemon as its control socket shows it.
struct ControlDesk: Sendable {
    let program: String
    let running: any RunningDaemon
    let configuration: ConfigurationDesk
    let log: DaemonLog
    let started: MonotonicTime
    /// The same moment by the wall clock.
    var startTime = WallClock.now()

    /// - Parameter request: one line without its end; see `ControlCommand`.
    func answer(_ request: String) -> ControlServer.Reply {
        do throws(ControlRefusal) {
            let command = try ControlCommand(line: request)
            switch command.name {
            case "status": return .whole(Self.octets(status))
            case MetricsDocument.command: return .whole(Self.octets(metrics.document(of: program)))
            case "reload": return .whole(Self.octets(reloaded()))
            default: break
            }
            switch try running.answer(command) {
            case .document(let document)?: return .whole(Self.octets(document))
            case .documents(let feed)?: return .stream(Self.stream(feed))
            case nil:
                throw ControlRefusal(
                    "expected status, metrics, reload or a command of \(program)'s own, found another")
            }
        } catch {
            return .whole(Self.octets(Self.error(error.description)))
        }
    }

    private static func stream(_ feed: ControlFeed) -> ControlServer.Stream {
        ControlServer.Stream(ended: feed.ended) {
            switch feed.next() {
            case .documents(let documents): .octets(documents.flatMap(octets))
            case .nothingYet: .nothingYet
            case .end: .end(octets(ControlAnswer.completed))
            }
        }
    }

    static func refusal(_ refusal: ControlServer.Refusal, program: String) -> [UInt8] {
        switch refusal {
        case .foreignUser(let user):
            octets(error("\(program) answers root and its own user, not user \(user)"))
        case .requestTooLong:
            octets(error("expected a request of at most \(ControlServer.maxRequestOctets) octets, found more"))
        case .tooManyStreams:
            octets(error("expected at most \(ControlServer.maxStreams) clients that follow, found more"))
        }
    }

    // MARK: Status

    private var status: ControlDocument {
        let standing = configuration.current
        return [
            "name": .text(program), "version": .text(DaemonArguments.release), "pid": .number(Int(getpid())),
            "uptime": .number((MonotonicTime.now() - started).nanoseconds / 1_000_000_000),
            "configuration": [
                "file": .text(standing.file), "generation": .number(standing.generation),
                "loaded": Self.time(standing.loaded),
                "refused": standing.refusal.map { refusal in
                    ["time": Self.time(refusal.time), "problems": .list(refusal.problems.map(Self.problem))]
                } ?? .null,
            ],
            "open_transactions": .number(running.openTransactions),
            "counters": .list(running.counters.map(Self.counter)),
            "last_warning": log.lastWarning.map { warning in
                [
                    "time": Self.time(warning.time), "level": .text("\(warning.level)"),
                    "text": .text(LogRendering.printable(warning.text)), "count": .number(warning.count),
                ]
            } ?? .null,
        ]
    }

    // MARK: Metrics

    private var metrics: MetricsDocument {
        let standing = configuration.current
        let uptime = (MonotonicTime.now() - started).nanoseconds / 1_000_000_000
        func reading(_ name: String, _ value: Int64) -> CounterReading {
            CounterReading(CounterName(name), UInt64(clamping: value))
        }
        let own = [
            reading("postern_uptime_seconds", uptime),
            reading("postern_process_start_time_seconds", startTime.seconds),
            reading("postern_open_transactions", Int64(running.openTransactions)),
            reading("postern_configuration_generation", Int64(standing.generation)),
            reading("postern_configuration_loaded_timestamp_seconds", standing.loaded.seconds),
            reading("postern_configuration_refused", standing.refusal == nil ? 0 : 1),
        ]
        return MetricsDocument(
            version: DaemonArguments.release,
            readings: own + ProcessReadings.all + log.counters.readings + running.counters + running.gauges,
            histograms: running.histograms)
    }

    private static func counter(_ reading: CounterReading) -> ControlDocument {
        [
            "metric": .text(reading.name.metric),
            "label": reading.name.label.map { .text($0.key) } ?? .null,
            "label_value": reading.name.label.map { .text($0.value) } ?? .null,
            "value": .number(Int64(clamping: reading.value)),
        ]
    }

    // MARK: Reload

    private func reloaded() -> ControlDocument {
        switch configuration.reload() {
        case .adopted(let generation, let notices):
            [
                "name": .text(program), "result": "adopted", "generation": .number(generation), "problems": .list([]),
                "notices": .list(notices.map { .text($0) }),
            ]
        case .refused(let generation, let problems):
            [
                "name": .text(program), "result": "refused", "generation": .number(generation),
                "problems": .list(problems.map(Self.problem)), "notices": .list([]),
            ]
        }
    }

    /// As `postern check --json` spells it.
    private static func problem(_ problem: ConfigurationProblem) -> ControlDocument {
        let hasPlace = problem.line > 0
        return [
            "file": .text(problem.file), "line": hasPlace ? .number(problem.line) : .null,
            "column": hasPlace ? .number(problem.column) : .null,
            "key": problem.keyPath.isEmpty ? .null : .text(problem.keyPath), "text": .text(problem.text),
        ]
    }

    private static func error(_ text: String) -> ControlDocument { ["error": .text(text)] }
    private static func time(_ time: UnixTime) -> ControlDocument { .text(LogRendering.timestamp(time)) }
    private static func octets(_ document: ControlDocument) -> [UInt8] { Array("\(document)\n".utf8) }
}

extension ControlDocument: ExpressibleByStringLiteral {
    public init(stringLiteral text: String) { self = .text(text) }
}
