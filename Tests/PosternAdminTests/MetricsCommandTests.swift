// `postern metrics` as a command line, with daemons that a test plays; and the files in contrib that name metrics.

import Foundation
import PosternDaemon
import PosternMail
import PosternSocket
import Testing

@testable import PosternAdmin

@Suite("postern metrics") struct MetricsCommandTests {
    static func answer(_ daemon: DaemonName) -> String { "\(SampleMetrics.document(daemon))\n" }

    @Test("--once asks the daemons of this host and prints the page")
    func once() throws {
        let page = MetricsPage(SampleMetrics.daemons)
        let answers = DaemonName.allCases.map { ($0, ["metrics": Self.answer($0)]) }
        let daemons = try StatusTests.Daemons(Dictionary(uniqueKeysWithValues: answers))
        let text = try daemons.run("metrics", "--once")
        #expect(text.status == 0 && text.notes.isEmpty && text.text == page.text(.text))
        let open = try daemons.run("metrics", "--once", "--format", "openmetrics")
        #expect(open.text == page.text(.openMetrics))
        let object = try daemons.run("--json", "metrics", "--once").json()
        let metrics = try #require(object["metrics"] as? [[String: Any]])
        let families = MetricFamily.all.filter { $0.daemon != MetricFamily.commandLine }  // no command was run here
        #expect(metrics.map { $0["name"] as? String } == families.map(\.name))
        let histogram = metrics.first { $0["type"] as? String == "histogram" }
        let sample = (histogram?["samples"] as? [[String: Any]])?.first
        #expect(sample?["sum"] as? String == "1.500000001")
        #expect(
            (sample?["buckets"] as? [[String: Any]])?.map { $0["le"] as? String } == ["0.00005", "0.001", "1", "+Inf"])
    }

    @Test("a daemon that is down is told as down; one that not every host has only where it was expected")
    func down() throws {
        let daemons = try StatusTests.Daemons([.dkim: ["metrics": Self.answer(.dkim)]])
        func up(_ words: String...) throws -> [String] {
            try Postern().run(["metrics", "--once", "--control", daemons.folder.path] + words).text
                .split(separator: "\n").filter { $0.hasPrefix("postern_up{") }.map(String.init)
        }
        #expect(try up() == ["postern_up{daemon=\"postern-dns\"} 0", "postern_up{daemon=\"postern-dkim\"} 1"])
        #expect(
            try up("rate", "dkim") == [
                "postern_up{daemon=\"postern-rate\"} 0", "postern_up{daemon=\"postern-dkim\"} 1",
            ])
    }

    @Test("one that was there once is expected from then on")
    func seen() throws {
        let folder: String
        let collector: MetricsCollector
        do {
            let daemons = try StatusTests.Daemons([.rate: ["metrics": Self.answer(.rate)]])
            folder = daemons.folder.path
            collector = MetricsCollector(DaemonControl(GlobalOptions(), stated: folder), named: [])
            #expect(collector.answers().map(\.daemon) == [.dns, .dkim, .rate])
        }
        let answers = collector.answers()  // its folder is gone
        #expect(answers.map(\.daemon) == [.dns, .dkim, .rate])
        for (_, answer) in answers { if case .notRunning = answer {} else { Issue.record("\(answer)") } }
    }

    @Test(
        "an answer that is none is a daemon that is down, or one without numbers",
        arguments: [("", 0), ("[", 0), (#"{"error":"not you"}"#, 0), ("{}", 1), ("[]", 1), ("null", 1), ("7", 1)])
    func nonsense(_ answer: String, _ up: Int) throws {
        let daemons = try StatusTests.Daemons([.dkim: ["metrics": answer]])
        let text = try daemons.run("metrics", "--once", "dkim").text
        #expect(text.contains("postern_up{daemon=\"postern-dkim\"} \(up)\n"))
        #expect(text.split(separator: "\n").filter { !$0.hasPrefix("#") }.count == (up == 0 ? 1 : 3))
    }

    @Test(
        "wrong usage",
        arguments: [
            (["--once", "--list"], "--once or --list"), (["--once", "--listen", "127.0.0.1:1"], "--listen or --once"),
            (["--json"], "--once with --json"), (["--format", "text"], "--format with --once"),
            (["--once", "--format", "xml"], "expected text or openmetrics, found \"xml\""),
            (["--once", "--json", "--format", "text"], "without --json"), (["--list", "--json"], "--list or --json"),
            (["--listen", "9154"], "expected ADDRESS:PORT or unix:PATH, found \"9154\""),
            (["--listen", "mx1.example.org:9154"], "ADDRESS:PORT"),
            (["--listen", "udp:127.0.0.1:9154"], "ADDRESS:PORT"),
            (["--listen", "127.0.0.1:99999"], "ADDRESS:PORT"), (["--once", "sendmail"], "expected a daemon"),
        ] as [([String], String)])
    func usage(_ words: [String], _ told: String) throws {
        let result = try Postern().run(["metrics"] + words)
        #expect(result.status == 64 && result.notes.contains(told), "\(result.notes)")
    }

    @Test("why it cannot listen, and what to do") func cannotListen() {
        let place = Endpoint.tcp(host: "127.0.0.1", port: 9154)
        func text(_ code: Int32, _ place: Endpoint) -> String {
            MetricsCommand.text(of: .system(operation: "bind \(place)", errno: code), at: place)
        }
        #expect(
            text(EADDRINUSE, place)
                == "cannot bind \(place): Address already in use; another program listens there: ss -ltnp names it; "
                + "--listen takes another place")
        #expect(text(EACCES, place).hasSuffix("; ports below 1024 are root's"))
        #expect(text(EACCES, .unix(path: "/x")).hasSuffix(": Permission denied"))
        #expect(
            MetricsCommand.text(of: .inUse(path: "/x"), at: .unix(path: "/x")) == "/x: another process listens there")
    }

    @Test(
        "where it listens",
        arguments: [
            ("127.0.0.1:9154", .tcp(host: "127.0.0.1", port: 9154)), ("[::1]:80", .tcp(host: "::1", port: 80)),
            ("localhost:1", .tcp(host: "localhost", port: 1)), ("unix:/run/m.sock", .unix(path: "/run/m.sock")),
            ("inet:9154@127.0.0.1", .tcp(host: "127.0.0.1", port: 9154)),
        ] as [(String, Endpoint)])
    func places(_ text: String, _ endpoint: Endpoint) throws {
        #expect(try MetricsCommand.endpoint(text) == endpoint)
    }

    // MARK: contrib

    static func file(_ name: String) throws -> String {
        var root = URL(filePath: #filePath).deletingLastPathComponent()
        while !FileManager.default.fileExists(atPath: root.appending(path: "Package.swift").path), root.path != "/" {
            root.deleteLastPathComponent()
        }
        return try String(contentsOf: root.appending(path: name), encoding: .utf8)
    }

    @Test("the table in contrib is what --list prints")
    func table() throws {
        let printed = try Postern()("metrics", "--list").text
        #expect(try Self.file("contrib/prometheus/metrics.md") == printed)
        for family in MetricFamily.all { #expect(printed.contains("\n| `\(family.name)` | \(family.kind.rawValue) |")) }
    }

    /// Every metric that a text names, and with which values of its labels.
    static func unknown(_ text: String) -> [String] {
        var known: [String: MetricFamily] = [:]
        for family in MetricFamily.all {
            for suffix in family.kind == .histogram ? ["_bucket", "_sum", "_count"] : [""] {
                known[family.name + suffix] = family
            }
        }
        return text.matches(of: /\bpostern_[a-z_]+\b(?:\{([^}]*)\})?/).compactMap { match in
            let name = match.0.prefix { $0 != "{" }
            guard let family = known[String(name)] else { return String(name) }
            for pair in (match.1 ?? "").matches(of: /([a-z]+)(?:=~|!~|!=|=)\\?"([^"\\]*)\\?"/) {
                let key = String(pair.1)
                if ["daemon", "instance", "job", "le", "host"].contains(key) || pair.2.hasPrefix("$") { continue }
                guard let label = family.label, label.key == key else { return "\(name){\(key)}" }
                guard case .closed(let values) = label.values else { continue }
                for value in pair.2.split(separator: "|") where !values.contains(String(value)) {
                    return "\(name){\(key)=\(value)}"
                }
            }
            return nil
        }
    }

    @Test(
        "every metric and label that a rule, its tests or the dashboard names exists",
        arguments: [
            "contrib/prometheus/postern.rules.yml", "contrib/prometheus/postern.rules.test.yml",
            "contrib/grafana/postern.json",
        ])
    func names(_ path: String) throws {
        let text = try Self.file(path)
        #expect(text.matches(of: /\bpostern_[a-z_]+\b/).count > 20)
        #expect(Self.unknown(text) == [])
    }

    @Test("a name, a label or a value that is none would be found")
    func wrongNames() {
        #expect(
            Self.unknown(
                #"""
                postern_up{daemon="x"} postern_ups rate(postern_dkim_verdict_seconds_bucket[5m]) postern_dkim_verdict_seconds
                postern_dkim_messages_total{verdict=~"signed|sighed"} postern_rate_keys{kind="x"} postern_dkim_messages{verdict="a"}
                """#) == [
                    "postern_ups", "postern_dkim_verdict_seconds", "postern_dkim_messages_total{verdict=sighed}",
                    "postern_rate_keys{kind}", "postern_dkim_messages",
                ])
    }
}
