import PosternDNS
import PosternMail
import Testing

@testable import PosternForwarder

@Suite("upstreams")
struct UpstreamChoiceTests {
    private func settings(_ upstreams: String...) throws -> ForwarderSettings {
        ForwarderSettings(upstreams: try upstreams.map { try #require(Upstream($0)) }, listen: [])
    }

    /// One question that is answered by `upstream` after so many seconds.
    private func exchange(_ name: String, _ upstream: String, after seconds: Double = 0.01) -> String {
        """
        ask \(name) A
        sent \(upstream) \(name) A
        wait \(seconds)s
        reply \(upstream) \(name) A NOERROR 300 192.0.2.9
        answer \(name) A NOERROR 300 192.0.2.9

        """
    }

    @Test("the fastest is asked; each sixteenth question measures another one")
    func fastest() throws {
        var script = ""
        for number in 1...14 { script += exchange("a\(number).test", "192.0.2.1", after: 0.05) }
        script += exchange("b.test", "192.0.2.2", after: 0.01)  // the fifteenth is numbered 15
        for number in 1...15 { script += exchange("c\(number).test", "192.0.2.2") }
        script += exchange("d.test", "192.0.2.1", after: 0.05)
        script += exchange("e.test", "192.0.2.2")
        Replay(try settings("192.0.2.1", "192.0.2.2")).run(script)
    }

    @Test("a silent upstream is left, tried beside others later and later, and is back when it replies")
    func dead() throws {
        let lost = """
            ask NAME A
            sent 192.0.2.1 NAME A
            wait 1.5s
            sent 192.0.2.2 NAME A
            reply 192.0.2.2 NAME A NOERROR 300 192.0.2.9
            answer NAME A NOERROR 300 192.0.2.9
            """
        func probe(_ name: String) -> String {
            """
            ask \(name) A
            sent 192.0.2.1 \(name) A                  # beside the question: nobody waits for it
            sent 192.0.2.2 \(name) A
            reply 192.0.2.2 \(name) A NOERROR 300 192.0.2.9
            answer \(name) A NOERROR 300 192.0.2.9

            """
        }
        Replay(try settings("192.0.2.1", "192.0.2.2")).run(
            lost.replacing("NAME", with: "a.test").replacing(
                "sent 192.0.2.2", with: "warning upstream 192.0.2.1: no reply\nsent 192.0.2.2")
                + "\nwait 1s\nask b.test A\nsent 192.0.2.2 b.test A\n"
                + "reply 192.0.2.2 b.test A NOERROR 300 192.0.2.9\nanswer b.test A NOERROR 300 192.0.2.9\n")
        // Both are silent for a while; then one is back.
        Replay(try settings("192.0.2.1", "192.0.2.2")).run(
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            wait 1.5s
            warning upstream 192.0.2.1: no reply
            sent 192.0.2.2 a.test A
            wait 1.5s
            warning upstream 192.0.2.2: no reply
            sent 192.0.2.1 a.test A
            wait 1.5s
            sent 192.0.2.2 a.test A
            reply 192.0.2.2 a.test A NOERROR 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9

            """ + exchange("b.test", "192.0.2.2") + "wait 10s\n" + probe("c.test")
                + exchange("d.test", "192.0.2.2")  // one probe at a time
                + "wait 1.5s\n" + exchange("e.test", "192.0.2.2") + "wait 11s\n" + exchange("f.test", "192.0.2.2")
                + "wait 9s\n" + probe("g.test")  // twenty seconds later
                + "reply 192.0.2.1 g.test A NOERROR 300 192.0.2.9\ncount probes 2\nwait 60s\n"
                + exchange("h.test", "192.0.2.1", after: 0.01))
    }

    @Test("an upstream that refuses falls behind")
    func refusing() throws {
        Replay(try settings("192.0.2.1", "192.0.2.2")).run(
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            reply 192.0.2.1 a.test A REFUSED
            warning upstream 192.0.2.1: answered REFUSED
            sent 192.0.2.2 a.test A
            wait 0.1s
            reply 192.0.2.2 a.test A NOERROR 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9

            """ + exchange("b.test", "192.0.2.2"))
    }

    @Test("a zone has upstreams, a timeout, TTL bounds and a rate of its own")
    func zone() throws {
        var settings = try settings("192.0.2.1")
        var zone = ForwarderZone(try DomainName("dnsbl.test"))
        zone.upstreams = [try #require(Upstream("192.0.2.7"))]
        zone.tryTimeout = .milliseconds(500)
        zone.ttlMin = .seconds(60)
        zone.ttlMax = .seconds(90)
        zone.questionsPerSecond = 2
        settings.zones = [zone]
        Replay(settings).run(
            """
            ask 1.dnsbl.test A
            ask 2.dnsbl.test A
            ask 3.dnsbl.test A
            sent 192.0.2.7 1.dnsbl.test A
            sent 192.0.2.7 2.dnsbl.test A
            answer 3.dnsbl.test A SERVFAIL            # the third within a second
            count overRate 1
            warning a zone has used up its questions_per_second
            reply 192.0.2.7 1.dnsbl.test A NOERROR 5 127.0.0.2
            reply 192.0.2.7 2.dnsbl.test A NOERROR 900 127.0.0.2
            answer 1.dnsbl.test A NOERROR 5 127.0.0.2
            answer 2.dnsbl.test A NOERROR 90 127.0.0.2
            wait 59s
            ask 1.dnsbl.test A
            ask 2.dnsbl.test A
            answer 1.dnsbl.test A NOERROR 0 127.0.0.2
            answer 2.dnsbl.test A NOERROR 31 127.0.0.2
            ask 4.dnsbl.test A
            sent 192.0.2.7 4.dnsbl.test A
            wait 0.5s
            warning upstream 192.0.2.7: no reply in 500ms
            sent 192.0.2.7 4.dnsbl.test A
            wait 1.4s
            nothing                                   # a reply may still come, until four timeouts are over
            wait 0.1s
            answer 4.dnsbl.test A SERVFAIL
            ask xdnsbl.test A
            sent 192.0.2.1 xdnsbl.test A
            """)
    }

    @Test("a silent list's flood leaves places for others, and for policies and keys in any case")
    func flood() throws {
        var settings = try settings("192.0.2.1")
        settings.lists = [try DomainName("dnsbl.test")]
        var script = ""
        for number in 0..<20 { script += "ask \(number).dnsbl.test A from 1\n" }
        for number in 0..<7 { script += "sent 192.0.2.1 \(number).dnsbl.test A\n" }  // half of 16, less an eighth
        script += """
            ask _dmarc.a.test TXT from 1
            sent 192.0.2.1 _dmarc.a.test TXT
            ask b.test A from 2
            sent 192.0.2.1 b.test A
            nothing
            reply 192.0.2.1 0.dnsbl.test A NXDOMAIN 60
            answer 0.dnsbl.test A NXDOMAIN
            nothing                                   # the place is kept: _dmarc.a.test has taken the reserved one
            reply 192.0.2.1 1.dnsbl.test A NXDOMAIN 60
            answer 1.dnsbl.test A NXDOMAIN
            sent 192.0.2.1 7.dnsbl.test A             # the next in line

            """
        for number in 0..<30 { script += "ask x.c\(number).test A from \(number + 3)\n" }
        for number in 0..<6 { script += "sent 192.0.2.1 x.c\(number).test A\n" }  // 14 are asked now
        script += """
            ask s._domainkey.d.test TXT from 2
            sent 192.0.2.1 s._domainkey.d.test TXT
            nothing
            """
        Replay(settings, limits: Limits(active: 16, total: 128)).run(script)
    }
}
