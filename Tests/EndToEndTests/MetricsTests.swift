// Metrics as Prometheus sees them: a real one scrapes all daemons, every query of contrib's dashboard and rules is asked,
// and readers that nobody here wrote find no fault with the page.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("metrics", .serialized, .enabled(if: Prometheus.isAvailable, "needs Debian's prometheus")) struct Metrics {
        private static func text(_ path: String) throws -> String {
            try String(contentsOf: SourceTree.root.appending(path: path), encoding: .utf8)
        }

        /// Of contrib's table: every metric that there is.
        private static func declared() throws -> [(name: String, kind: String, labels: String)] {
            try text("contrib/prometheus/metrics.md").split(separator: "\n").compactMap { line in
                let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
                guard cells.count == 5, cells[0].hasPrefix("`postern_") else { return nil }
                return (cells[0].replacingOccurrences(of: "`", with: ""), cells[1], cells[2])
            }
        }

        @Test("the page of running daemons has every metric, and promtool finds no fault with it")
        func page() throws {
            let host = try MetricsHost.shared()
            // Keys and DNS lists are looked at by threads of their own.
            let page = try Await.value("the page of all daemons, with the key's record") {
                let page = try host.postern(["metrics", "--once"])
                let isWhole = MetricsHost.daemonNames.allSatisfy {
                    page.text.contains("\npostern_up{daemon=\"\($0)\"} 1\n")
                }
                return isWhole && page.text.contains("postern_dkim_key_published{") ? page : nil
            }
            #expect(page.status == 0 && page.errors.isEmpty)
            let checked = try Prometheus.promtool(["check", "metrics"], input: page.output)
            #expect(checked.status == 0 && checked.text.isEmpty && checked.errors.isEmpty, "\(checked)")
            let samples = page.text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init)
            let declared = try Self.declared()
            #expect(declared.count > 100)
            for metric in declared {
                let name = metric.kind == "histogram" ? metric.name + "_count" : metric.name
                let own = samples.filter { $0.hasPrefix(name + " ") || $0.hasPrefix(name + "{") }
                #expect(!own.isEmpty, "\(metric.name)")
                // A closed set of labels is whole in counters and histograms.
                guard metric.kind != "gauge", let list = metric.labels.firstMatch(of: /`([a-z]+)`: ([a-z0-9_, -]+)$/),
                    list.1 != "client"
                else { continue }
                for value in list.2.split(separator: ", ") {
                    #expect(own.contains { $0.contains("\(list.1)=\"\(value)\"") }, "\(metric.name): \(value)")
                }
            }
            // Nothing that is not declared is counted, and all is well.
            let known = Set(declared.map(\.name))
            for sample in samples {
                let name = sample.prefix { $0 != "{" && $0 != " " }
                let base = ["_bucket", "_sum", "_count"].first { name.hasSuffix($0) }.map { name.dropLast($0.count) }
                #expect(known.contains(String(name)) || known.contains(String(base ?? "")), "\(name)")
            }
            for name in MetricsHost.daemonNames {
                #expect(samples.contains("postern_up{daemon=\"\(name)\"} 1"))
                #expect(samples.contains("postern_metrics_unknown_readings{daemon=\"\(name)\"} 0"))
                #expect(samples.contains("postern_configuration_generation{daemon=\"\(name)\"} 1"))
            }
        }

        @Test("Prometheus's own reader of OpenMetrics takes the page")
        func openMetrics() throws {
            let host = try MetricsHost.shared()
            let page = try host.postern(["metrics", "--once", "--format", "openmetrics"])
            let script = """
                import sys
                from prometheus_client.openmetrics.parser import text_string_to_metric_families
                for family in text_string_to_metric_families(sys.stdin.read()):
                    print(family.name, family.type, len(family.samples))
                """
            let read = try Program.run("/usr/bin/python3", ["-c", script], input: page.output)
            #expect(read.status == 0, "\(read.errors)")
            let families = read.text.split(separator: "\n").compactMap {
                $0.split(separator: " ").first.map(String.init)
            }
            let declared = try Self.declared().map { $0.name.replacing(/(_total|_info)$/, with: "") }
            #expect(Set(declared).subtracting(families) == [] && families.count == declared.count)
        }

        @Test("every query of the dashboard returns numbers")
        func dashboard() throws {
            let host = try MetricsHost.shared()
            let prometheus = host.prometheus
            try Await.until("two scrapes") {
                try prometheus.query("count_over_time(postern_up{daemon=\"postern-dns\"}[1h])").first?.value ?? 0 >= 2
            }
            try host.sendMail()
            let file = try JSONSerialization.jsonObject(with: Data(Self.text("contrib/grafana/postern.json").utf8))
            let panels = (file as? [String: Any])?["panels"] as? [[String: Any]] ?? []
            let queries = panels.flatMap { panel in
                (panel["targets"] as? [[String: Any]] ?? []).compactMap { target in
                    (panel["title"] as? String ?? "", target["expr"] as? String ?? "")
                }
            }
            #expect(queries.count > 80)
            for (title, query) in queries {
                // As Grafana replaces them, for all hosts and a slow scrape.
                let asked = query.replacingOccurrences(of: "$instance", with: ".+")
                    .replacingOccurrences(of: "$__rate_interval", with: "10m")
                #expect(!asked.contains("$"), "\(title): \(query)")
                var last: [Prometheus.Result] = []
                do {
                    try Await.until("data") {
                        last = try prometheus.query(asked)
                        return last.contains { $0.value.isFinite }
                    }
                } catch {
                    Issue.record("\(title): \(asked): \(last) \(error)")
                }
            }
        }

        @Test("what Postfix's mail did is in Prometheus's numbers, and a daemon that dies is down")
        func numbers() throws {
            let host = try MetricsHost()
            try host.sendMail()
            func value(_ query: String) throws -> Double? { try host.prometheus.query(query).first?.value }
            // A scrape that is late on a busy machine leaves nothing to ask for until the next one.
            func awaitValue(_ query: String, _ condition: (Double) -> Bool) throws {
                try Await.until(query, context: { "\((try? host.prometheus.query(query)) ?? [])" }) {
                    try value(query).map(condition) == true
                }
            }
            // Three of ours; a stranger's two, of which one is signed.
            for (query, count) in [
                ("postern_dkim_messages_total{verdict=\"signed\"}", 3),
                ("postern_dkim_verdict_seconds_count{action=\"sign\"}", 3),
                ("postern_dmarc_results_total{result=\"pass\"}", 2),
                ("postern_dmarc_signatures_total{result=\"pass\"}", 1),
                ("postern_dmarc_signatures_total{result=\"none\"}", 1),
                ("postern_policy_dnsbl_listings_total{list=\"bl.example.org\"}", 1),
                ("postern_store_working{store=\"limits\"}", 1),
            ] as [(String, Double)] {
                try awaitValue(query) { $0 == count }
            }
            try awaitValue("sum(postern_rate_over_total)") { $0 >= 1 }
            host.daemons["postern-rate"]?.kill()
            try awaitValue("postern_up{daemon=\"postern-rate\"}") { $0 == 0 }
            try awaitValue("sum(postern_up)") { $0 == 4 }
            // Rules are evaluated at times of their own. Pending, or firing if it took that long to look.
            try awaitValue("count(ALERTS{alertname=\"PosternDown\"})") { $0 >= 1 }
            // The rules could all be evaluated.
            try awaitValue("sum(prometheus_rule_evaluations_total)") { $0 > 0 }
            try awaitValue("sum(prometheus_rule_evaluation_failures_total)") { $0 == 0 }
        }

        @Test("promtool finds no fault with the rules, and their tests pass; each alert has one")
        func rules() throws {
            let folder = SourceTree.root.appending(path: "contrib/prometheus")
            let rules = folder.appending(path: "postern.rules.yml").path
            let checked = try Prometheus.promtool(["check", "rules", rules])
            #expect(checked.status == 0 && checked.text.contains("SUCCESS"), "\(checked)")
            let tests = folder.appending(path: "postern.rules.test.yml").path
            let tested = try Prometheus.promtool(["test", "rules", tests])
            #expect(tested.status == 0, "\(tested)")
            let names = try Self.text("contrib/prometheus/postern.rules.yml").matches(of: /- alert: (\w+)/).map(\.1)
            let raised = try Self.text("contrib/prometheus/postern.rules.test.yml")
                .matches(of: /alertname: (\w+)\n +exp_alerts:\n/).map(\.1)
            #expect(Set(names) == Set(raised))
            let scrape = try Self.text("contrib/prometheus/scrape.yml").replacing(
                "/etc/prometheus/postern.rules.yml", with: rules)
            let temporary = try TemporaryFolder()
            let file = try temporary.write("prometheus.yml", scrape)
            let checkedScrape = try Prometheus.promtool(["check", "config", file.path])
            #expect(checkedScrape.status == 0, "\(checkedScrape)")
        }
    }
}
