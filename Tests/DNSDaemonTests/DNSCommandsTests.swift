// postern-dns's own commands of the control socket, asked as the socket asks them; query keys are in none of the answers.

import PosternDaemon
import PosternForwarder
import PosternMail
import TestSupport
import Testing

@testable import PosternDNS
@testable import postern_dns

@Suite("postern-dns's control commands")
struct DNSCommandsTests {
    static let key = "abcdefghijklmnopqrstuvwxyz"

    /// A postern-dns with a list that has a key, whose upstream is not there.
    final class Rig: Sendable {
        let server: ForwarderServer
        let commands: DNSCommands
        let log = RecordingLog()
        let flushes = CounterSink<Flushes>()

        enum Flushes: Int, CounterSet {
            case all
            var name: CounterName { CounterName("flushes") }
        }

        init() throws {
            // Nobody listens on port 9 of this machine but an ancient discard service, which answers nothing.
            var settings = ForwarderSettings(
                upstreams: [Upstream(.v4(0x7F00_0001), port: 9)], tryTimeout: .milliseconds(100),
                staticZone: try StaticZone(text: Array("own.test. 60 IN A 192.0.2.9\n".utf8)), listen: [])
            settings.lists = [try DomainName("\(DNSCommandsTests.key).list.test"), try DomainName("zen.example")]
            server = ForwarderServer(settings, log: log)
            try server.start()
            let flushes = flushes
            commands = DNSCommands(server: server, keys: settings.queryKeys) { flushes.count(.all) }
        }
        deinit { server.stop() }

        func ask(_ name: String, _ arguments: ControlDocument = [:]) throws -> ControlDocument {
            switch try commands.answer(ControlCommand(name, arguments)) {
            case .document(let document)?: return document
            case .documents(let feed)?:
                while true {
                    switch feed.nextPart() {
                    case .documents(let documents): return documents.first ?? .null
                    case .nothingYet: continue
                    case .end: return .null
                    }
                }
            case nil: return .null
            }
        }

        func refusal(_ name: String, _ arguments: ControlDocument) -> String? {
            do throws(ControlRefusal) { _ = try commands.answer(ControlCommand(name, arguments)) } catch {
                return error.description
            }
            return nil
        }
    }

    private static func answer(_ name: String) throws -> CacheSnapshot.Entry {
        let question = Question(try DomainName(name), .a)
        let target = Question(try DomainName("2.\(key).list.test"), .a)
        let link = ResourceRecord(owner: question.name, type: .cname, ttl: 300, octets: target.name.wire + [0])
        let record = ResourceRecord(owner: target.name, type: .a, ttl: 300, octets: [127, 0, 0, 2])
        return CacheSnapshot.Entry(
            question: question, body: ResponseBody(question: question, rcode: .noError, answers: [link, record]),
            elapsed: 0, left: .seconds(300), staleLeft: .zero)
    }

    @Test("other commands are not ours")
    func unknown() throws {
        #expect(try Rig().ask("dns") == .null)
    }

    @Test("flush forgets a name, a zone, all, and says how many answers went")
    func flush() throws {
        let rig = try Rig()
        let names = ["a.example", "b.example", "c.other", "d.other"]
        #expect(rig.server.restore(try names.map(Self.answer)) == 4)
        #expect(try rig.ask("dns flush", ["name": "a.example"]) == ["flushed": .number(1)])
        #expect(try rig.ask("dns flush", ["name": "a.example"]) == ["flushed": .number(0)])
        #expect(try rig.ask("dns flush", ["zone": "other"]) == ["flushed": .number(2)])
        #expect(try rig.ask("dns flush", ["all": .boolean(true)]) == ["flushed": .number(1)])
        #expect(try rig.ask("dns flush", ["zone": "."]) == ["flushed": .number(0)])
        #expect(rig.flushes[.all] == 5)
        #expect(rig.refusal("dns flush", [:]) == "expected one of name, zone and all")
        #expect(rig.refusal("dns flush", ["name": "a", "all": .boolean(true)]) == "expected one of name, zone and all")
        #expect(rig.refusal("dns flush", ["name": "a..b"]) == "expected a domain name, found an empty label")
        #expect(rig.refusal("dns flush", ["name": .number(1)]) == "name: expected a text, found another value")
        #expect(rig.flushes[.all] == 5)
    }

    @Test("a trace tells the way, and the answer as a message")
    func trace() throws {
        let rig = try Rig()
        let own = try rig.ask("dns trace", ["name": "own.test"])
        #expect(own["source"]?.text == "static" && own["rcode"]?.text == "NOERROR" && own["steps"]?.elements == [])
        #expect(own["cache"] == ["state": "absent"])
        let failed = try rig.ask("dns trace", ["name": "www.example", "type": "txt"])
        #expect(failed["type"]?.text == "TXT" && failed["rcode"]?.text == "SERVFAIL")
        let events = (failed["steps"]?.elements ?? []).compactMap { $0["event"]?.text }
        #expect(events.prefix(2) == ["asked", "failed"])
        let again = try rig.ask("dns trace", ["name": "www.example", "type": "txt"])
        #expect(again["cache"]?["state"]?.text == "failing" && again["source"]?.text == "cache")
        for type in ["ANY", "TYPE255", "OPT", "TYPE0", "AXFR", ""] {
            #expect(
                rig.refusal("dns trace", ["name": "a", "type": .text(type)])?.hasPrefix("expected a record type")
                    == true)
        }
        #expect(rig.refusal("dns trace", [:]) == "expected the argument name, found none")
    }

    @Test("query keys are in no answer, counter or log line")
    func keys() throws {
        let rig = try Rig()
        let name = "2.0.0.127.\(Self.key).list.test"
        #expect(rig.server.restore([try Self.answer(name)]) == 1)
        let trace = try rig.ask("dns trace", ["name": .text(name)])
        #expect(trace["name"]?.text == "2.0.0.127.(key).list.test")
        #expect(trace["rcode"]?.text == "NOERROR" && trace["source"]?.text == "cache")
        let silent = try rig.ask("dns trace", ["name": .text("x." + name), "type": "TXT"])
        #expect(silent["rcode"]?.text == "SERVFAIL")
        let statistics = try rig.ask("dns stats")
        let zones = (statistics["zones"]?.elements ?? []).compactMap { $0["zone"]?.text }
        #expect(zones == ["(key).list.test", "zen.example", "mail authentication", "other"])
        let hexadecimal = Self.key.utf8.map { String($0, radix: 16) }.joined()
        for text in ["\(trace)", "\(silent)", "\(statistics)", "\(rig.server.statistics.readings)"] + rig.log.lines {
            #expect(!text.contains(Self.key) && !text.contains(hexadecimal), "\(text)")
        }
        #expect(trace["message"]?.text?.isEmpty == false)
    }

    @Test("statistics by zone and client, and the same as counters with a closed set of labels")
    func statistics() throws {
        let rig = try Rig()
        #expect(rig.server.restore([try Self.answer("1.zen.example")]) == 1)
        _ = try rig.ask("dns trace", ["name": "1.zen.example"])
        _ = try rig.ask("dns trace", ["name": "www.example"])
        let document = try rig.ask("dns stats")
        let zone = document["zones"]?.elements.first { $0["zone"]?.text == "zen.example" }
        #expect(zone?["questions"]?.number == 1 && zone?["cached"]?.number == 1)
        #expect(zone?["hits_per_mille"]?.number == 1000)
        let other = document["zones"]?.elements.last
        #expect(
            other?["zone"]?.text == "other" && other?["failed"]?.number == 1 && other?["hits_per_mille"]?.number == 0)
        let client = document["clients"]?.elements.first
        #expect(client?["client"]?.text == "control" && client?["questions"]?.number == 2)
        let upstream = document["upstreams"]?.elements.first
        #expect(upstream?["upstream"]?.text == "127.0.0.1:9" && (upstream?["failures"]?.number ?? 0) > 0)
        #expect(document["cache"]?["answers"]?.number == 2)
        let readings = Dictionary(
            rig.server.statistics.readings.map { ("\($0.name)", $0.value) }, uniquingKeysWith: { first, _ in first })
        #expect(readings.count == rig.server.statistics.readings.count)  // each once
        #expect(readings["postern_dns_zone_questions_total{zone=\"zen.example\"}"] == 1)
        #expect(readings["postern_dns_zone_cached_total{zone=\"zen.example\"}"] == 1)
        #expect(readings["postern_dns_client_questions_total{client=\"control\"}"] == 2)
        #expect(readings["postern_dns_upstream_failed_tries_total{upstream=\"127.0.0.1:9\"}", default: 0] > 0)
        typealias Client = ForwarderStatistics.Client
        #expect(Client.user(0).longName == "root" && Client.user(0).shortName == "root")
        #expect(Client.user(4_000_000_000).longName == "user 4000000000")
        #expect(Client.user(4_000_000_000).shortName == "others" && Client.udp.shortName == "udp")
    }
}
