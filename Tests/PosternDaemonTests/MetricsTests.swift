// What daemons tell as metrics: the answer of the control socket, and the declarations that it must fit.

import Foundation
import PosternDNS
import PosternMail
import PosternSocket
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("metrics of daemons") struct MetricsTests {
    // MARK: Declarations

    @Test("names are Prometheus's: one each, with the unit and the kind at their end")
    func names() throws {
        let all = MetricFamily.all
        #expect(Set(all.map(\.name)).count == all.count)
        // OpenMetrics §5.1.2.1: also without what the kind adds, and a histogram's own names are nobody else's.
        let samples = all.flatMap { family in
            family.kind == .histogram
                ? ["", "_bucket", "_sum", "_count"].map { family.name + $0 } : [family.name]
        }
        #expect(Set(samples).count == samples.count)
        #expect(Set(all.map(\.openName)).count == all.count)
        for family in all {
            let name = family.name
            #expect(name.wholeMatch(of: /postern_[a-z]+(_[a-z]+)*/) != nil, "\(name)")
            #expect((family.kind == .counter) == name.hasSuffix("_total"), "\(name)")
            #expect((family.kind == .info) == name.hasSuffix("_info"), "\(name)")
            if family.kind == .histogram { #expect(family.unit == "seconds", "\(name)") }
            if let daemon = family.daemon {
                #expect(name.hasPrefix(daemon.replacing("-", with: "_") + "_"), "\(name)")
            }
        }
    }

    @Test("what each counts is told in a sentence; labels are words")
    func help() {
        for family in MetricFamily.all {
            let help = family.help
            #expect(help.last == "." && help.first?.isUppercase == true, "\(family.name): \(help)")
            #expect(help.allSatisfy { $0.isASCII && !"\"\\\n|".contains($0) }, "\(family.name): \(help)")
            guard let label = family.label else { continue }
            #expect(
                label.key.wholeMatch(of: /[a-z]+/) != nil && !["daemon", "le"].contains(label.key), "\(family.name)")
            guard case .closed(let values) = label.values else { continue }
            #expect(Set(values).count == values.count && values.count <= 16, "\(family.name)")
            for value in values {
                #expect(value.wholeMatch(of: /[a-z]+([-_][a-z]+)*/) != nil, "\(family.name): \(value)")
            }
        }
    }

    @Test("what every daemon tells of itself, and of its log, is declared")
    func shared() throws {
        let office = try LifeReloadTests.Office(LifeReloadTests.text("one.example"))
        office.log.warning("look")
        office.log.warning("look")
        office.log.error("look again")
        let desk = ControlDesk(
            program: "postern-x", running: LifeControlTests.Running(), configuration: try office.desk,
            log: office.log, started: .now() + .seconds(-90), startTime: UnixTime(seconds: 1_795_000_000))
        let metrics = MetricsDocument(try LifeControlTests.document(desk.answer("metrics")))
        #expect(metrics.version == DaemonArguments.release)
        func values(_ name: String) -> [Int64] { metrics.readings.filter { $0.name.metric == name }.map(\.value) }
        #expect(values("postern_uptime_seconds") == [90])
        #expect(values("postern_process_start_time_seconds") == [1_795_000_000])
        #expect(values("postern_configuration_generation") == [1] && values("postern_configuration_refused") == [0])
        #expect(values("postern_open_transactions") == [2])
        #expect(values("postern_log_messages_total") == [2, 1, 0])  // held back or not
        #expect(values("postern_x_octets") == [.max])
        let fds = try #require(values("postern_process_open_fds").first)
        #expect(fds > 2 && fds < values("postern_process_max_fds").first ?? 0)
        #expect(values("postern_process_threads").first ?? 0 >= 1)
        #expect(values("postern_process_resident_octets").first ?? 0 > 1 << 20)
        #expect(values("postern_process_cpu_microseconds_total").first ?? 0 > 0)
        let told = Set(metrics.readings.map { $0.name.metric.replacing("_microseconds", with: "_seconds") })
        let declared = Set(MetricFamily.shared.map(\.name))
        let others: Set = ["postern_x_messages_total", "postern_x_octets"]
        #expect(told.subtracting(declared) == others)
        // The rest is told by who has a store, or shares one, or by the page itself.
        let rest: Set<String> = declared.subtracting(told).filter { !$0.hasPrefix("postern_shared_") }
        #expect(
            rest == [
                "postern_up", "postern_build_info", "postern_metrics_unknown_readings", "postern_store_working",
                "postern_store_octets", "postern_store_saved_timestamp_seconds",
            ])
    }

    // MARK: The document

    static let sample = MetricsDocument(
        version: "0.1.0",
        readings: [
            CounterReading(CounterName("a_total", "k", "v\"\\\n"), 7), CounterReading(CounterName("b"), .max),
        ],
        histograms: [HistogramReading(CounterName("c_seconds"), buckets: (0...18).map { UInt64($0) }, sum: 5)])

    @Test("what is written is read again")
    func roundTrip() throws {
        let octets = Array("\(Self.sample.document(of: "postern-x"))".utf8)
        #expect(MetricsDocument(try ControlDocument(octets)) == Self.sample)
    }

    @Test(
        "a reading that is none is left out",
        arguments: [
            #"{"metric":"a","value":-1}"#, #"{"metric":"a"}"#, #"{"value":1}"#, #"{"metric":1,"value":1}"#, "1",
            "null", "[]", #"{"metric":"a","label":"k","value":1}"#, #"{"metric":"a","label":1,"value":1}"#,
            #"{"metric":"a","label":"k","label_value":null,"value":1}"#,
        ])
    func noReading(_ text: String) throws {
        let document = try ControlDocument(Array(#"{"readings":[\#(text),{"metric":"b","value":2}]}"#.utf8))
        #expect(MetricsDocument(document).readings.map(\.name.metric) == ["b"])
    }

    @Test(
        "nor is a histogram",
        arguments: [
            #""bounds":[],"buckets":[1],"sum_ns":1"#, #""bounds":[1,2],"buckets":[1,2],"sum_ns":1"#,
            #""bounds":[2,1],"buckets":[1,2,3],"sum_ns":1"#, #""bounds":[1,1],"buckets":[1,2,3],"sum_ns":1"#,
            #""bounds":[0],"buckets":[1,2],"sum_ns":1"#, #""bounds":[1],"buckets":[1,-2],"sum_ns":1"#,
            #""bounds":[1],"buckets":[1,2],"sum_ns":-1"#, #""bounds":[1],"buckets":[1,2]"#,
            #""bounds":["1"],"buckets":[1,2],"sum_ns":1"#,
        ])
    func noHistogram(_ text: String) throws {
        let document = try ControlDocument(Array(#"{"histograms":[{"metric":"a",\#(text)}]}"#.utf8))
        #expect(MetricsDocument(document).histograms.isEmpty)
    }

    @Test("lists and names are capped")
    func caps() {
        let many = [ControlDocument](
            repeating: ["metric": "a", "value": .number(1)], count: MetricsDocument.maxReadings + 5)
        let long: ControlDocument = ["metric": .text(String(repeating: "x", count: 513)), "value": .number(1)]
        #expect(MetricsDocument(["readings": .list(many)]).readings.count == MetricsDocument.maxReadings)
        #expect(MetricsDocument(["readings": .list([long])]).readings.isEmpty)
    }

    @Test("damaged documents never trap")
    func mutations() {
        var read = 0
        Mutations.of(
            [Array("\(Self.sample.document(of: "postern-x"))".utf8)],
            tokens: ["null", "[]", "-1", "9223372036854775807", "{}", "\"\""].map { Array($0.utf8) }, count: 4000,
            seed: 8
        ) { octets in
            // Most are no JSON; those that are may hold anything.
            guard let document = try? ControlDocument(octets) else { return }
            let metrics = MetricsDocument(document)
            #expect(metrics.readings.allSatisfy { $0.value >= 0 })
            #expect(metrics.histograms.allSatisfy { $0.buckets.count == $0.bounds.count + 1 })
            read += 1
        }
        #expect(read > 100)
    }

    // MARK: Who may ask

    @Test("a reader may ask for metrics, word for word, and for nothing else")
    func reader() throws {
        let endpoint = Endpoint.unix(path: LifeLogTests.path())
        let server = try ControlServer(
            listener: try Socket.listen(endpoint, mode: ControlSocket.mode, backlog: ControlSocket.backlog),
            allowedUsers: [geteuid() + 1],
            readers: ControlServer.Readers(users: [geteuid()], requests: [MetricsDocument.command]),
            answer: { .whole(Array("asked \($0)\n".utf8)) }, refuse: { ControlDesk.refusal($0, program: "postern-x") })
        Foundation.Thread.detachNewThread { server.run() }
        defer {
            server.stop()
            Socket.removeFile(of: endpoint)
        }
        func ask(_ request: String) throws -> String {
            String(decoding: try ControlClient.ask(endpoint, request, until: LifeControlTests.deadline), as: UTF8.self)
        }
        #expect(try ask("metrics") == "asked metrics\n")
        for request in ["status", "reload", "", "metrics ", "{\"command\":\"metrics\"}", "metrics\r"] {
            #expect(try ask(request).contains("answers root and its own user, not user \(geteuid())"), "\(request)")
        }
    }

    @Test("what is waited for DNS is measured, a batch at a time")
    func dns() throws {
        let resolver = try ZoneResolver(zone: "a.example. 60 IN TXT \"one\"\n")
        var times: [Duration] = []
        let measured = MeasuredDNS(resolver) { times.append($0) }
        let questions = [Question(try DomainName("a.example"), .txt), Question(try DomainName("b.example"), .txt)]
        #expect(measured.answers(to: questions) == resolver.answers(to: questions))
        #expect(measured.answers(to: questions, within: .seconds(1), until: { _ in false }).count == 2)
        measured.prefetch(questions)
        #expect(times.count == 2 && times.allSatisfy { $0 >= .zero })
    }
}
