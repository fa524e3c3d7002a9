// What the tests of metrics share: answers of daemons with every metric that there is, and a reader of OpenMetrics that
// is as strict as the standard.

import PosternDaemon
import PosternMail
import Testing

@testable import PosternAdmin

enum SampleMetrics {
    /// An answer of a daemon that tells all that it may.
    static func document(_ daemon: DaemonName) -> ControlDocument {
        var (readings, histograms): ([String], [String]) = ([], [])
        var value = 0
        for family in MetricFamily.all where family.daemon == nil || family.daemon == daemon.rawValue {
            guard ![MetricFamily.up, MetricFamily.build, MetricFamily.unknownReadings].contains(family.name) else {
                continue
            }
            let name =
                ["postern_process_cpu_seconds_total", "postern_dns_upstream_round_trip_seconds"].contains(family.name)
                ? family.name.replacing("_seconds", with: "_microseconds") : family.name
            for label in labels(family) {
                value += 1
                let head = "{\"metric\":\"\(name)\",\(label)"
                if family.kind == .histogram {
                    histograms.append(
                        head + "\"bounds\":[50,1000,1000000],\"buckets\":[\(value),2,0,1],\"sum_ns\":1500000001}")
                } else {
                    readings.append(head + "\"value\":\(value)}")
                }
            }
        }
        return document(readings: readings, histograms: histograms)
    }

    private static func labels(_ family: MetricFamily) -> [String] {
        guard let label = family.label else { return [""] }
        let values =
            switch label.values {
            case .closed(let values): values
            case .configured: ["example.org", "two \\\"words\\\" \\\\ here"]
            }
        return values.map { "\"label\":\"\(label.key)\",\"label_value\":\"\($0)\"," }
    }

    static func document(
        readings: [String] = [], histograms: [String] = [], version: String = "0.1.0"
    ) -> ControlDocument {
        let text =
            "{\"name\":\"x\",\"version\":\"\(version)\",\"readings\":[\(readings.joined(separator: ","))],"
            + "\"histograms\":[\(histograms.joined(separator: ","))]}"
        // Written here: a mistake in it shows as a page without anything.
        return (try? ControlDocument(Array(text.utf8))) ?? .null
    }

    static let daemons = DaemonName.allCases.map { ($0, DaemonAnswer.document(document($0))) }
    static let everything = MetricsPage(
        daemons, backup: LastBackup(time: UnixTime(seconds: 1_795_000_000), octets: 48_213),
        tested: LastBackup(time: UnixTime(seconds: 1_795_000_100), octets: 48_213))
}

/// A page of OpenMetrics 1.0, read strictly; promtool and prometheus_client read it too, in the tests end to end.
struct ReadMetrics {
    struct Sample: Hashable {
        let name: String
        let labels: [String: String]
        let value: Double
    }
    struct Family: Hashable {
        let name: String
        var type = "", unit = "", help = ""
        var samples: [Sample] = []
    }
    struct Fault: Error { let line: String }

    private(set) var families: [Family] = []

    /// - Throws: the first line that is wrong.
    init(_ page: String) throws {
        guard page.hasSuffix("# EOF\n") else { throw Fault(line: "no end") }
        for line in page.dropLast("# EOF\n".count).split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            try line.hasPrefix("#") ? head(String(line)) : sample(String(line))
        }
    }

    private mutating func head(_ line: String) throws {
        let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard words.count == 4, words[0] == "#" else { throw Fault(line: line) }
        if words[1] == "TYPE" {
            guard !families.contains(where: { $0.name == words[2] }),
                ["counter", "gauge", "histogram", "info"].contains(words[3])
            else { throw Fault(line: line) }
            families.append(Family(name: words[2], type: words[3]))
            return
        }
        guard var family = families.popLast(), family.name == words[2], family.samples.isEmpty else {
            throw Fault(line: line)
        }
        switch words[1] {
        case "UNIT" where family.unit.isEmpty && words[2].hasSuffix("_" + words[3]): family.unit = words[3]
        case "HELP" where family.help.isEmpty: family.help = words[3]
        default: throw Fault(line: line)
        }
        families.append(family)
    }

    private mutating func sample(_ line: String) throws {
        let label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"/
        let whole =
            /([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? ([0-9.eE+-]+|\+Inf)/
        guard let match = line.wholeMatch(of: whole), var family = families.popLast(), let value = Double(match.3)
        else { throw Fault(line: line) }
        let inner = match.2.map(String.init) ?? ""
        let pairs = inner.matches(of: label).map { (String($0.1), String($0.2)) }
        let labels = Dictionary(pairs, uniquingKeysWith: { first, _ in first })
        guard pairs.count == labels.count, pairs.map({ "\($0.0)=\"\($0.1)\"" }).joined(separator: ",") == inner else {
            throw Fault(line: line)
        }
        let suffixes: Set<String> =
            switch family.type {
            case "counter": ["_total"]
            case "info": ["_info"]
            case "histogram": ["_bucket", "_sum", "_count"]
            default: [""]
            }
        let sample = Sample(name: String(match.1), labels: labels, value: value)
        guard suffixes.contains(where: { family.name + $0 == sample.name }),
            !family.samples.contains(where: { $0.name == sample.name && $0.labels == sample.labels }), value >= 0
        else { throw Fault(line: line) }
        if sample.name.hasSuffix("_bucket"), let last = family.samples.last, last.name == sample.name,
            last.labels.filter({ $0.key != "le" }) == labels.filter({ $0.key != "le" })
        {
            // Cumulative, and by rising bounds.
            guard let bound = labels["le"].flatMap({ Double($0.replacing("+Inf", with: "inf")) }),
                let before = last.labels["le"].flatMap({ Double($0) }), bound > before, last.value <= value
            else { throw Fault(line: line) }
        }
        family.samples.append(sample)
        families.append(family)
    }
}
