// `dns stats`, `dns flush` and `dns query --trace` against a postern-dns that a test plays, and query keys in all that
// `dns` and `show` print.

import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("dns stats, flush and trace") struct DNSControlTests {
    typealias Daemons = StatusTests.Daemons
    static let key = "abcdefghijklmnopqrstuvwxyz"

    static let statistics = #"""
        {"zones":[{"zone":"(key).zen.dq.spamhaus.net","questions":12000,"cached":3,"local":0,"stale":0,"asked":4,"failed":1,"hits_per_mille":428},{"zone":"quiet.example","questions":0,"cached":0,"local":0,"stale":0,"asked":0,"failed":0,"hits_per_mille":null},{"zone":"other","questions":7,"cached":7,"local":0,"stale":2,"asked":0,"failed":0,"hits_per_mille":1000}],"clients":[{"client":"postern-\u001bdmarc","questions":5,"cached":0,"local":0,"stale":0,"asked":0,"failed":0,"hits_per_mille":null}],"upstreams":[{"upstream":"127.0.0.1","queries":5,"failures":0,"round_trip_us":812,"left":false},{"upstream":"192.0.2.53","queries":2,"failures":2,"round_trip_us":null,"left":true}],"cache":{"answers":7,"octets":4096,"evictions":1,"prefetches":2}}
        """#

    @Test("statistics as tables; zones that nobody asked are left out; controls cannot move the cursor")
    func stats() throws {
        let daemons = try Daemons([.dns: ["dns stats": Self.statistics]])
        let result = try daemons.run("dns", "stats")
        #expect(
            result.text == """
                ZONE                       questions     hits  stale  failed
                (key).zen.dq.spamhaus.net      12000   42.8 %      0       1
                other                              7  100.0 %      2       0

                CLIENT          questions  hits  stale  failed
                postern-?dmarc          5     -      0       0

                UPSTREAM    queries  failures  round trip
                127.0.0.1         5         0      0.8 ms
                192.0.2.53        2         2           -  not asked: it was silent

                cache: 7 answers in 4 KiB, 1 evicted, 2 asked for again in time

                """)
        #expect(result.status == 0 && result.notes.isEmpty)
        let json = try daemons.run("dns", "stats", "--json").json()
        #expect((json["zones"] as? [[String: Any]])?.count == 3)
    }

    @Test("any document is survived", arguments: ["null", "[]", "{}", #"{"zones":[1],"clients":{},"upstreams":[[]]}"#])
    func strange(_ answer: String) throws {
        let daemons = try Daemons([.dns: ["dns stats": answer]])
        #expect(try daemons.run("dns", "stats").text.contains("cache: 0 answers"))
    }

    @Test("a daemon that does not run, or will not, is 69")
    func unavailable() throws {
        let down = try Daemons([:]).run("dns", "stats")
        #expect(down.status == 69 && down.notes == "error: postern-dns does not run")
        let refusing = try Daemons([.dns: ["dns stats": #"{"error":"not you"}"#]]).run("dns", "stats")
        #expect(refusing.status == 69 && refusing.notes == "error: postern-dns: not you")
        #expect(try Daemons([:]).run("dns", "flush", "--all").status == 69)
        #expect(try Daemons([:]).run("dns", "query", "--trace", "a.example").status == 69)
    }

    // MARK: Flush

    @Test("what is to be forgotten is said in one way")
    func flush() throws {
        let daemons = try Daemons([
            .dns: [
                #"{"command":"dns flush","name":"a.example"}"#: #"{"flushed":1}"#,
                #"{"command":"dns flush","zone":"example"}"#: #"{"flushed":3}"#,
                #"{"command":"dns flush","all":true}"#: #"{"flushed":0}"#,
                #"{"command":"dns flush","zone":"."}"#: "{}",
            ]
        ])
        #expect(try daemons.run("dns", "flush", "A.example.").text == "1 answer forgotten\n")
        #expect(try daemons.run("dns", "flush", "--zone", "example").text == "3 answers forgotten\n")
        #expect(try daemons.run("dns", "flush", "--all", "--json").text == "{\"flushed\":0}\n")
        let odd = try daemons.run("dns", "flush", "--zone", ".")
        #expect(odd.status == 69 && odd.notes.contains("expected a number of answers"))
    }

    @Test(
        "one of a name, --zone and --all",
        arguments: [[], ["a.example", "--all"], ["--all", "--zone", "a"], ["a", "--zone", "a"], ["a..b"]])
    func usage(_ words: [String]) throws {
        #expect(try Postern().run(["dns", "flush"] + words).status == 64)
    }

    // MARK: Trace

    /// The message of an answer, as postern-dns sends it.
    static func message(_ question: Question, _ rcode: ResponseCode, _ records: [ResourceRecord]) throws -> String {
        let query = try QueryMessage(DNSCodec.query(id: 0, question: question))
        return ResponseBody(question: question, rcode: rcode, answers: records)
            .message(for: query, elapsed: 0, maxOctets: 65_535)
            .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test("the way on comment lines, then the answer")
    func trace() throws {
        let question = Question(try DomainName("www.example"), .a)
        let message = try Self.message(
            question, .noError,
            [
                ResourceRecord(
                    owner: question.name, type: .cname, ttl: 60, octets: try DomainName("a.example").wire + [0]),
                ResourceRecord(owner: try DomainName("a.example"), type: .a, ttl: 50, octets: [192, 0, 2, 1]),
            ])
        let document = """
            {"name":"www.example","type":"A","cache":{"state":"stale","age":90,"left":3600},"steps":[\
            {"time_us":40,"upstream":"127.0.0.1","event":"asked","over":"udp","edns":true},\
            {"time_us":1500040,"upstream":"127.0.0.1","event":"failed","reason":"no reply in 1.5s\\u001b"},\
            {"time_us":1500050,"upstream":"192.0.2.53","event":"asked","over":"tcp","edns":false},\
            {"time_us":1510050,"upstream":"192.0.2.53","event":"ignored"},\
            {"time_us":1512050,"upstream":"192.0.2.53","event":"answered","round_trip_us":12000}],\
            "source":"upstream","time_us":1512060,"rcode":"NOERROR","message":"\(message)"}
            {"complete":true}
            """
        let asked = #"{"command":"dns trace","name":"www.example","type":"A"}"#
        let daemons = try Daemons([.dns: [asked: document]])
        let result = try daemons.run("dns", "query", "--trace", "www.example")
        #expect(
            result.text == """
                ; cache: an answer whose time is over since 1m 30s; it may be used for 1h 0m more if upstreams fail
                ; 0.0 ms: 127.0.0.1: asked over UDP
                ; 1500.0 ms: 127.0.0.1: no reply in 1.5s?
                ; 1500.0 ms: 192.0.2.53: asked over TCP, without EDNS
                ; 1510.0 ms: 192.0.2.53: sent what was not the answer
                ; 1512.0 ms: 192.0.2.53: answered in 12.0 ms
                ; NOERROR from upstream after 1512.0 ms
                www.example. 60 IN CNAME a.example.
                a.example. 50 IN A 192.0.2.1

                """)
        #expect(result.status == 0 && result.questions.isEmpty)
        let json = try daemons.run("dns", "query", "--trace", "--json", "www.example").json()
        #expect(json["result"] as? String == "records")
        #expect(((json["trace"] as? [String: Any])?["steps"] as? [Any])?.count == 5)
    }

    @Test("a failure is 69, and is told with its source")
    func failure() throws {
        let question = Question(try DomainName("www.example"), .txt)
        let message = try Self.message(question, .serverFailure, [])
        let asked = #"{"command":"dns trace","name":"www.example","type":"TXT"}"#
        let document = """
            {"cache":{"state":"failing","left":4,"stale":false},"steps":[],"source":"cache","time_us":7,\
            "rcode":"SERVFAIL","message":"\(message)"}
            {"complete":true}
            """
        let result = try Daemons([.dns: [asked: document]]).run("dns", "query", "--trace", "www.example", "txt")
        #expect(result.status == 69)
        #expect(
            result.text == """
                ; cache: upstreams failed a moment ago, and are not asked for 4s more
                ; SERVFAIL from the cache after 0.0 ms
                temporary failure: SERVFAIL

                """)
    }

    @Test(
        "what is no trace",
        arguments: [
            "{}", "null", #"{"message":"zz"}"#, #"{"message":"0"}"#, #"{"message":"00ff"}"#, "", "{",
            #"{"message":7}"#, #"{"complete":true}"#,
        ])
    func noTrace(_ answer: String) throws {
        let asked = #"{"command":"dns trace","name":"www.example","type":"A"}"#
        for end in ["", "\n", "\n{\"complete\":true}\n", "\n{\"error\":\"no\"}\n"] {
            let result = try Daemons([.dns: [asked: answer + end]]).run("dns", "query", "--trace", "www.example")
            #expect(
                result.status == 69 && result.text.isEmpty && result.notes.hasPrefix("error: postern-dns: "),
                "\(result.notes)")
        }
    }

    @Test("an answer that breaks off is none")
    func broken() throws {
        let question = Question(try DomainName("www.example"), .a)
        let asked = #"{"command":"dns trace","name":"www.example","type":"A"}"#
        let document = "{\"message\":\"\(try Self.message(question, .nameError, []))\"}\n"
        let result = try Daemons([.dns: [asked: document]]).run("dns", "query", "--trace", "www.example")
        #expect(result.status == 69 && result.notes.contains("expected all of the answer, found its beginning"))
    }

    @Test("--trace asks postern-dns, and nobody else")
    func traceUsage() throws {
        #expect(try Postern()("dns", "query", "--trace", "--resolver", "127.0.0.1", "a").status == 64)
        #expect(try Postern()("dns", "query", "--control", "/x", "a").status == 64)
    }

    // MARK: Query keys

    @Test("a query key is shown by no command")
    func keys() throws {
        let folder = try Folder()
        let configuration = """
            [dns]
            upstream = ["127.0.0.1"]
            [[dns.zone]]
            name = "\(Self.key).list.example"
            upstream = ["8.8.8.8"]
            [[dns.zone]]
            name = "\(Self.key).list.example"
            [[dnsbl.list]]
            zone = "\(Self.key).list.example"
            scores = { "127.0.0.2" = 4 }
            [[dnsbl.list]]
            zone = "\(Self.key).zen.dq.spamhaus.net"
            scores = { "127.0.0.2" = 4 }
            [[dnsbl.list]]
            zone = "\(Self.key).dnsbl.sorbs.net"
            scores = { "127.0.0.2" = 4 }
            [[dnsbl.list]]
            zone = "\(Self.key).dnsbl.sorbs.net"
            scores = { "127.0.0.2" = 4 }

            """
        let wrong = try folder.write(configuration, to: "wrong.toml")
        let right = try folder.write(
            configuration.replacing("[[dns.zone]]\nname = \"\(Self.key).list.example\"\n[[dnsbl", with: "[[dnsbl")
                .replacing(
                    "[[dnsbl.list]]\nzone = \"\(Self.key).dnsbl.sorbs.net\"\nscores = { \"127.0.0.2\" = 4 }\n", with: ""
                ),
            to: "right.toml")
        let zone = """
            $TTL 300
            2.0.0.127.\(Self.key).list.example. CNAME x.\(Self.key).list.example.
            x.\(Self.key).list.example. A 127.0.0.2

            """
        var shown: [String] = []
        for (words, status) in [
            (["check", wrong], 78), (["check", right], 0), (["check", "--json", wrong], 78),
            (["show", "--config", right], 0), (["show", "--json", "--config", right], 0),
            (["dns", "query", "--config", right, "2.0.0.127.\(Self.key).list.example"], 0),
            (["dns", "query", "--json", "--config", right, "2.0.0.127.\(Self.key).list.example"], 0),
            (["dns", "query", "--config", right, "2.0.0.127.\(Self.key).list.example", "CNAME"], 0),
            (["dns", "query", "--config", right, "2.0.0.127.\(Self.key)..zen.dq.spamhaus.net"], 64),
            (["dns", "query", "--config", right, "127.\(Self.key).zen.dq.spamhaus.net"], 0),
            (["dns", "flush", "\(Self.key)..zen.dq.spamhaus.net"], 64),
        ] as [([String], Int32)] {
            let result = try Postern(zone: zone).run(words)
            #expect(result.status == status, "\(words): \(result.notes)")
            shown.append(result.text + result.notes)
            #expect(!(result.text + result.notes).contains(Self.key), "\(words): \(result.text) \(result.notes)")
        }
        #expect(shown.filter { $0.contains("key") }.count >= 8)  // or it showed nothing at all
    }
}
