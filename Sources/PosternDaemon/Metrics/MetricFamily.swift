// What metrics there are: each is declared here once with its kind, its labels and a sentence on what it counts. Daemons
// send numbers under these names (see MetricsDocument); `postern metrics` shows those and no others, so that neither a
// stranger's word nor a daemon that went wrong can add a name or a label. contrib/prometheus/metrics.md is made from it.

public import PosternMail

/// One metric with all its labels, as OpenMetrics 1.0 has it.
public struct MetricFamily: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable {
        /// Only rises, from 0 at the daemon's start; its name ends in `_total`.
        case counter
        case gauge
        /// In seconds.
        case histogram
        /// Always 1; its labels tell what is to be told. Its name ends in `_info`.
        case info
    }

    /// What tells a metric's numbers apart, beside the daemon.
    public struct Label: Hashable, Sendable {
        public let key: String
        public let values: Values

        public enum Values: Hashable, Sendable {
            /// These and no others.
            case closed([String])
            /// The words of the configuration, which its reader has checked and which are capped; where they hold a
            /// query key, without it.
            case configured
        }
    }

    /// What an outcome's line can count of it.
    public enum InLog: Hashable, Sendable {
        /// One value of its label; without a label a number.
        case one
        /// Several values of its label.
        case several
    }

    /// As its samples are called, in base units; what a daemon sends in microseconds is told in seconds.
    public let name: String
    public let kind: Kind
    /// A sentence without quotation marks, backslashes and line ends.
    public let help: String
    public let label: Label?
    /// How JSON lines of the log tell it (`log.format`); nil where none does.
    public let inLog: InLog?
    /// The daemon that has it; nil for what all have. Those carry the daemon's name as a label.
    public let daemon: String?

    /// OpenMetrics's name of the whole: without `_total` and `_info`.
    public var openName: String {
        for suffix in ["_total", "_info"] where name.hasSuffix(suffix) { return String(name.dropLast(suffix.count)) }
        return name
    }

    /// OpenMetrics §5.1.2.4: the unit is the last word of the name.
    public var unit: String? { ["seconds", "octets"].first { openName.hasSuffix("_\($0)") } }

    /// What a JSON line calls it: without `postern_DAEMON_` and `_total`.
    public var noun: String {
        let prefix = daemon.map { $0.replacing("-", with: "_") + "_" } ?? "postern_"
        return openName.hasPrefix(prefix) ? String(openName.dropFirst(prefix.count)) : openName
    }

    /// Those that stand in JSON lines, by name.
    static let logged = Dictionary(uniqueKeysWithValues: all.filter { $0.inLog != nil }.map { ($0.name, $0) })

    /// All of them, in the order in which they are shown.
    public static let all = shared + dns + dkim + dmarc + policy + rate + commands

    /// One daemon's own metrics with each label that a closed set has; those with labels of the configuration are not
    /// among them.
    public static func names(of daemon: String, _ kinds: Set<Kind>) -> Set<CounterName> {
        let families = all.filter { $0.daemon == daemon && kinds.contains($0.kind) }
        return Set(
            families.flatMap { family -> [CounterName] in
                guard let label = family.label else { return [CounterName(family.name)] }
                guard case .closed(let values) = label.values else { return [] }
                return values.map { CounterName(family.name, label.key, $0) }
            })
    }
}

extension MetricFamily {
    /// Declares one daemon's metrics.
    struct Maker {
        let daemon: String?

        func counter(
            _ name: String, _ help: String, _ key: String? = nil, _ values: [String]? = nil, inLog: InLog? = nil
        ) -> MetricFamily {
            make(.counter, name, help, key, values, inLog)
        }
        func gauge(_ name: String, _ help: String, _ key: String? = nil, _ values: [String]? = nil) -> MetricFamily {
            make(.gauge, name, help, key, values)
        }
        func histogram(_ name: String, _ help: String, _ key: String? = nil, _ values: [String]? = nil) -> MetricFamily
        {
            make(.histogram, name, help, key, values)
        }
        func info(_ name: String, _ help: String, _ key: String) -> MetricFamily {
            make(.info, name, help, key, nil)
        }

        /// - Parameter values: nil where the configuration knows them.
        private func make(
            _ kind: Kind, _ name: String, _ help: String, _ key: String?, _ values: [String]?, _ inLog: InLog? = nil
        ) -> MetricFamily {
            MetricFamily(
                name: name, kind: kind, help: help,
                label: key.map { Label(key: $0, values: values.map { .closed($0) } ?? .configured) }, inLog: inLog,
                daemon: daemon)
        }
    }

    // Results by their RFCs' words: RFC 8601 §2.7.1, RFC 7208 §2.6, RFC 9989.
    static let dkimResults = ["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"]
    static let spfResults = ["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
    static let dmarcResults = ["none", "pass", "fail", "temperror", "permerror"]
    /// What a policy service answers, by Postfix's words.
    static let answers = [
        "dunno", "reject", "defer", "defer_if_permit", "hold", "prepend", "filter", "redirect", "bcc",
    ]
}
