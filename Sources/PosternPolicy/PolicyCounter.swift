// What a policy door counts. Two daemons have such a door, and their metrics are told apart by their names.

import PosternMail

enum PolicyCounter: Int, CounterSet {
    // Requests that were judged, by their answer; with repeats, overloaded and unanswered ones these are all.
    case dunno, reject, `defer`, deferIfPermit, hold, prepend, filter, redirect, bcc
    case repeats, overloaded, unanswered
    // Connections, and why they were ended by us or in the middle of a request.
    case connections, refusedConnections, malformed, slow, broken
    // Answers of our own making that Postfix has no words for.
    case unspeakable

    /// Without the daemon's name before it.
    var name: CounterName {
        switch self {
        case .dunno: Self.answer("dunno")
        case .reject: Self.answer("reject")
        case .defer: Self.answer("defer")
        case .deferIfPermit: Self.answer("defer_if_permit")
        case .hold: Self.answer("hold")
        case .prepend: Self.answer("prepend")
        case .filter: Self.answer("filter")
        case .redirect: Self.answer("redirect")
        case .bcc: Self.answer("bcc")
        case .repeats: CounterName("repeats_total")
        case .overloaded: CounterName("overloaded_total")
        case .unanswered: CounterName("unanswered_total")
        case .connections: CounterName("connections_total")
        case .refusedConnections: CounterName("refused_connections_total")
        case .malformed: Self.fault("malformed")
        case .slow: Self.fault("slow")
        case .broken: Self.fault("broken")
        case .unspeakable: CounterName("unspeakable_answers_total")
        }
    }

    private static func answer(_ action: String) -> CounterName { CounterName("answers_total", "action", action) }
    private static func fault(_ reason: String) -> CounterName {
        CounterName("faulty_requests_total", "reason", reason)
    }

    init(_ answer: PolicyAnswer) {
        self =
            switch answer {
            case .dunno: .dunno
            case .reject: .reject
            case .defer: .defer
            case .deferIfPermit: .deferIfPermit
            case .hold: .hold
            case .prepend: .prepend
            case .filter: .filter
            case .redirect: .redirect
            case .bcc: .bcc
            }
    }
}

/// What a policy door measures.
enum PolicyHistogram: Int, HistogramSet {
    /// A request's judgement, from when it was read to its answer; repeats are not judged.
    case decision

    /// Without the daemon's name before it.
    var name: CounterName { CounterName("decision_seconds") }
}

extension HistogramSink<PolicyHistogram> {
    /// - Parameter daemon: `policy` or `rate`.
    func readings(of daemon: String) -> [HistogramReading] {
        readings.map {
            HistogramReading(
                CounterName("postern_\(daemon)_\($0.name.metric)"), buckets: $0.buckets, sum: $0.sum)
        }
    }
}

extension CounterSink<PolicyCounter> {
    /// - Parameter daemon: `policy` or `rate`.
    func readings(of daemon: String) -> [CounterReading] {
        readings.map { reading in
            let metric = "postern_\(daemon)_\(reading.name.metric)"
            let label = reading.name.label
            let name = label.map { CounterName(metric, $0.key, $0.value) } ?? CounterName(metric)
            return CounterReading(name, reading.value)
        }
    }
}
