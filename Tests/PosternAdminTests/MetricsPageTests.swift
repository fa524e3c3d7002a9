// The page of metrics: what of the daemons' answers is on it, and how it is written.

import Foundation
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("metrics page") struct MetricsPageTests {
    @Test("every metric that is declared occurs, with each label, in both forms")
    func everything() throws {
        let page = try ReadMetrics(SampleMetrics.everything.text(.openMetrics))
        #expect(page.families.map(\.name) == MetricFamily.all.map(\.openName))
        #expect(page.families.map(\.type) == MetricFamily.all.map(\.kind.rawValue))
        #expect(page.families.map(\.unit) == MetricFamily.all.map { $0.unit ?? "" })
        #expect(page.families.map(\.help) == MetricFamily.all.map(\.help))
        for (family, read) in zip(MetricFamily.all, page.families) {
            if family.daemon == nil {
                let daemons = Set(read.samples.compactMap { $0.labels["daemon"] })
                #expect(daemons == Set(DaemonName.allCases.map(\.rawValue)), "\(family.name)")
            }
            guard let label = family.label else { continue }
            let values = Set(read.samples.compactMap { $0.labels[label.key] })
            switch label.values {
            case .closed(let all): #expect(values == Set(all), "\(family.name)")
            case .configured where family.kind == .info: #expect(values == ["0.1.0"])
            case .configured: #expect(values == ["example.org", #"two \"words\" \\ here"#], "\(family.name)")
            }
        }
        let unknown = page.families.first { $0.name == MetricFamily.unknownReadings }
        #expect(unknown?.samples.map(\.value) == DaemonName.allCases.map { _ in 0 })
        // The older form has the same samples.
        func samples(_ format: MetricsFormat) -> [String] {
            SampleMetrics.everything.text(format).split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init)
        }
        let older = samples(.text).map { line in line.replacing("le=\"1\"", with: "le=\"1.0\"") }
        #expect(older == samples(.openMetrics))
    }

    @Test("the two forms, to the letter")
    func forms() {
        let page = MetricsPage([
            (
                .dkim,
                .document(
                    SampleMetrics.document(
                        readings: [
                            #"{"metric":"postern_process_cpu_microseconds_total","value":1500001}"#,
                            #"{"metric":"postern_dkim_key_published","label":"key","label_value":"a\"b\\c\n","value":1}"#,
                        ],
                        histograms: [
                            #"{"metric":"postern_dkim_dns_wait_seconds","bounds":[50,1000000],"buckets":[1,2,3],"sum_ns":10}"#
                        ], version: "0.2"))
            ), (.dns, .notRunning), (.rate, .failed("no")),
        ])
        #expect(
            page.text(.openMetrics) == #"""
                # TYPE postern_up gauge
                # HELP postern_up Whether the daemon runs and has answered.
                postern_up{daemon="postern-dkim"} 1
                postern_up{daemon="postern-dns"} 0
                postern_up{daemon="postern-rate"} 0
                # TYPE postern_build info
                # HELP postern_build The release of the daemon that runs.
                postern_build_info{daemon="postern-dkim",version="0.2"} 1
                # TYPE postern_metrics_unknown_readings gauge
                # HELP postern_metrics_unknown_readings Numbers of the daemon that this page does not know: it is of another release.
                postern_metrics_unknown_readings{daemon="postern-dkim"} 0
                # TYPE postern_process_cpu_seconds counter
                # UNIT postern_process_cpu_seconds seconds
                # HELP postern_process_cpu_seconds Processor time, user and system.
                postern_process_cpu_seconds_total{daemon="postern-dkim"} 1.500001
                # TYPE postern_dkim_dns_wait_seconds histogram
                # UNIT postern_dkim_dns_wait_seconds seconds
                # HELP postern_dkim_dns_wait_seconds Time that a message waited for a batch of questions.
                postern_dkim_dns_wait_seconds_bucket{le="5e-05"} 1
                postern_dkim_dns_wait_seconds_bucket{le="1.0"} 3
                postern_dkim_dns_wait_seconds_bucket{le="+Inf"} 6
                postern_dkim_dns_wait_seconds_sum 0.00000001
                postern_dkim_dns_wait_seconds_count 6
                # TYPE postern_dkim_key_published gauge
                # HELP postern_dkim_key_published Whether DNS has the key's record and it fits; a key not looked up yet is not here, nor one of a directory that DNS lacks while another signs.
                postern_dkim_key_published{key="a\"b\\c?"} 1
                # EOF

                """#)
        let older = page.text(.text)
        #expect(older.contains("# TYPE postern_process_cpu_seconds_total counter\n"))
        #expect(
            older.contains("# TYPE postern_build_info gauge\n") && !older.contains("UNIT") && !older.contains("EOF"))
        #expect(older.contains("postern_dkim_dns_wait_seconds_bucket{le=\"1\"} 3\n"))
    }

    @Test(
        "what is not declared, or another's, or comes twice, is left out and counted",
        arguments: [
            #"{"metric":"postern_dkim_secret_total","value":1}"#,
            #"{"metric":"postern_rate_keys","value":1}"#,  // another daemon's
            #"{"metric":"postern_up","value":1}"#, #"{"metric":"postern_metrics_unknown_readings","value":0}"#,
            #"{"metric":"postern_build_info","label":"version","label_value":"9","value":1}"#,
            #"{"metric":"postern_dkim_messages_total","value":1}"#,
            #"{"metric":"postern_dkim_messages_total","label":"verdict","label_value":"ann@example.org","value":1}"#,
            #"{"metric":"postern_dkim_messages_total","label":"user","label_value":"signed","value":1}"#,
            #"{"metric":"postern_dkim_overloaded_total","label":"verdict","label_value":"signed","value":1}"#,
            #"{"metric":"postern_dkim_dns_wait_seconds","value":1}"#,  // a histogram's name
            #"{"metric":"postern_dkim_overloaded_total\n# EOF","value":1}"#,
            #"{"metric":"postern_uptime_seconds","label":"daemon","label_value":"postern-dns","value":1}"#,
            #"{"metric":"postern_open_transactions","value":2}"#,  // it was told before
        ])
    func strange(_ reading: String) throws {
        let known = #"{"metric":"postern_open_transactions","value":1}"#
        let page = MetricsPage([(.dkim, .document(SampleMetrics.document(readings: [known, reading])))])
        let families = try ReadMetrics(page.text(.openMetrics)).families
        #expect(
            families.map(\.name) == [
                "postern_up", "postern_build", "postern_metrics_unknown_readings", "postern_open_transactions",
            ])
        #expect(families.map { $0.samples.map(\.value) } == [[1], [1], [1], [1]])
    }

    @Test("a daemon cannot make the page long")
    func long() throws {
        let readings = (0..<3000).map {
            #"{"metric":"postern_policy_dnsbl_working","label":"list","label_value":"l\#($0)","value":1}"#
        }
        let page = MetricsPage([(.policy, .document(SampleMetrics.document(readings: readings)))])
        let lists = try ReadMetrics(page.text(.openMetrics)).families.first {
            $0.name == "postern_policy_dnsbl_working"
        }
        #expect(lists?.samples.count == MetricsPage.maxSamples)
    }

    @Test("whatever a daemon answers, the page is well-formed")
    func mutations() throws {
        let samples = [DaemonName.dkim, .dns].map { Array("\(SampleMetrics.document($0))".utf8) }
        var documents = 0
        try Mutations.of(
            samples,
            tokens: ["\\u0000", "\\n", "\\\"", "9223372036854775807", "null", "postern_up"].map { Array($0.utf8) },
            count: 600, seed: 154
        ) { octets in
            guard let document = try? ControlDocument(octets) else { return }  // no JSON, as most are
            documents += 1
            let page = MetricsPage([(.dkim, .document(document)), (.dns, .document(document))])
            _ = try ReadMetrics(page.text(.openMetrics))
            _ = page.text(.text)
            _ = "\(page.json)"
        }
        #expect(documents > 20)
    }

    @Test(
        "fractions are exact and short",
        arguments: [
            (0, 6, "0"), (1, 6, "0.000001"), (1_500_000, 6, "1.5"), (20_000_000, 6, "20"), (123, 9, "0.000000123"),
            (Int64.max, 9, "9223372036.854775807"),
        ] as [(Int64, Int, String)])
    func decimals(_ number: Int64, _ digits: Int, _ text: String) {
        #expect(MetricsPage.Sample.decimal(number, digits: digits) == text)
    }
}
