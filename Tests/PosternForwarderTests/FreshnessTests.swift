import PosternDNS
import PosternMail
import Testing

@testable import PosternForwarder

@Suite("freshness")
struct FreshnessTests {
    private func replay() throws -> Replay {
        var settings = ForwarderSettings(upstreams: [Upstream(.v4(0x7F00_0001))], listen: [])
        settings.lists = [try DomainName("dnsbl.test")]
        return Replay(settings)
    }

    /// One rule each; the upstream is 127.0.0.1, and each question is tried twice for 1.5 seconds.
    static let rules: [(String, String)] = [
        (
            "a hot name is asked again in the last tenth of its time",
            """
            ask a.test A
            sent 127.0.0.1 a.test A
            reply 127.0.0.1 a.test A NOERROR 300 192.0.2.1
            answer a.test A NOERROR 300 192.0.2.1
            wait 269s
            ask a.test A
            ask a.test A
            ask a.test A
            answer a.test A NOERROR 31 192.0.2.1
            answer a.test A NOERROR 31 192.0.2.1
            answer a.test A NOERROR 31 192.0.2.1
            nothing                                   # not yet
            wait 1s
            ask a.test A
            ask a.test A
            answer a.test A NOERROR 30 192.0.2.1
            answer a.test A NOERROR 30 192.0.2.1
            sent 127.0.0.1 a.test A                   # once, and nobody waited
            count prefetches 1
            reply 127.0.0.1 a.test A NOERROR 300 192.0.2.2
            ask a.test A
            answer a.test A NOERROR 300 192.0.2.2
            """
        ),
        (
            "a name that was asked three times or less is not",
            """
            ask a.test A
            sent 127.0.0.1 a.test A
            reply 127.0.0.1 a.test A NOERROR 300 192.0.2.1
            answer a.test A NOERROR 300 192.0.2.1
            wait 295s
            ask a.test A
            ask a.test A
            answer a.test A NOERROR 5 192.0.2.1
            answer a.test A NOERROR 5 192.0.2.1
            count prefetches 0
            """
        ),
        (
            "RFC 8767 §4: silent upstreams, and the stale policy is used, with a TTL of 30",
            """
            ask _dmarc.a.test TXT
            sent 127.0.0.1 _dmarc.a.test TXT
            reply 127.0.0.1 _dmarc.a.test TXT NOERROR 300 v=DMARC1
            answer _dmarc.a.test TXT NOERROR 300 v=DMARC1
            wait 86699s                               # a day later, less a second
            ask _dmarc.a.test TXT
            sent 127.0.0.1 _dmarc.a.test TXT
            wait 1.5s
            warning upstream 127.0.0.1: no reply
            sent 127.0.0.1 _dmarc.a.test TXT
            nothing
            wait 4.5s
            answer _dmarc.a.test TXT SERVFAIL         # its day is over meanwhile
            count staleAnswers 0
            """
        ),
        (
            "RFC 8767 §5: clients wait 1.8 seconds; the question goes on, and its answer is taken",
            """
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT NOERROR 300 v=spf1
            answer a.test TXT NOERROR 300 v=spf1
            wait 301s
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            wait 1.5s
            warning upstream 127.0.0.1: no reply
            sent 127.0.0.1 a.test TXT
            nothing
            wait 0.3s
            answer a.test TXT NOERROR 30 v=spf1
            ask a.test TXT
            answer a.test TXT NOERROR 30 v=spf1       # nobody else waits now
            reply 127.0.0.1 a.test TXT NOERROR 300 v=spf1,new
            ask a.test TXT
            answer a.test TXT NOERROR 300 v=spf1,new
            count staleAnswers 2
            """
        ),
        (
            "RFC 8767 §5: after a failure the stale answer is used for 30 seconds without asking",
            """
            ask s._domainkey.a.test TXT
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT NOERROR 300 p=
            answer s._domainkey.a.test TXT NOERROR 300 p=
            wait 301s
            ask s._domainkey.a.test TXT
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT SERVFAIL
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT SERVFAIL
            answer s._domainkey.a.test TXT NOERROR 30 p=
            wait 29s
            ask s._domainkey.a.test TXT
            answer s._domainkey.a.test TXT NOERROR 30 p=
            wait 1s
            ask s._domainkey.a.test TXT
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT NXDOMAIN 60
            answer s._domainkey.a.test TXT NXDOMAIN   # revoked
            wait 61s
            ask s._domainkey.a.test TXT
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT SERVFAIL
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT SERVFAIL
            answer s._domainkey.a.test TXT SERVFAIL   # never the answer before the newer one
            count staleAnswers 2
            """
        ),
        (
            "a newer answer with TTL 0 takes the stale one away too",
            """
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT NOERROR 300 v=spf1
            answer a.test TXT NOERROR 300 v=spf1
            wait 301s
            ask a.test TXT
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT NOERROR 0 v=spf1,0
            answer a.test TXT NOERROR 0 v=spf1,0
            answer a.test TXT NOERROR 0 v=spf1,0      # for the questions in flight alone
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT SERVFAIL
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT SERVFAIL
            answer a.test TXT SERVFAIL
            """
        ),
        (
            "a TTL of 0 with the same records is the last moment of an upstream's cache, and nothing newer",
            """
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT NOERROR 300 v=spf1
            answer a.test TXT NOERROR 300 v=spf1
            wait 300s
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT NOERROR 0 v=spf1
            answer a.test TXT NOERROR 0 v=spf1
            ask a.test TXT
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT SERVFAIL
            sent 127.0.0.1 a.test TXT
            reply 127.0.0.1 a.test TXT SERVFAIL
            answer a.test TXT NOERROR 30 v=spf1
            """
        ),
        (
            "keys live six hours",
            """
            ask s._domainkey.a.test TXT
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT NOERROR 300 p=
            answer s._domainkey.a.test TXT NOERROR 300 p=
            wait 21900s
            ask s._domainkey.a.test TXT
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT SERVFAIL
            sent 127.0.0.1 s._domainkey.a.test TXT
            reply 127.0.0.1 s._domainkey.a.test TXT SERVFAIL
            answer s._domainkey.a.test TXT SERVFAIL
            """
        ),
        (
            "lists' answers, other TXT records and other names are never used stale",
            """
            ask 2.0.0.127.dnsbl.test TXT
            ask a.test TXT
            ask a.test A
            sent 127.0.0.1 2.0.0.127.dnsbl.test TXT
            sent 127.0.0.1 a.test TXT
            sent 127.0.0.1 a.test A
            reply 127.0.0.1 2.0.0.127.dnsbl.test TXT NOERROR 300 v=spf1
            reply 127.0.0.1 a.test TXT NOERROR 300 verification=1
            reply 127.0.0.1 a.test A NOERROR 300 192.0.2.1
            answer 2.0.0.127.dnsbl.test TXT NOERROR 300 v=spf1
            answer a.test TXT NOERROR 300 verification=1
            answer a.test A NOERROR 300 192.0.2.1
            wait 301s
            ask 2.0.0.127.dnsbl.test TXT
            ask a.test TXT
            ask a.test A
            sent 127.0.0.1 2.0.0.127.dnsbl.test TXT
            sent 127.0.0.1 a.test TXT
            sent 127.0.0.1 a.test A
            wait 1.5s
            warning upstream 127.0.0.1: no reply
            sent 127.0.0.1 2.0.0.127.dnsbl.test TXT
            sent 127.0.0.1 a.test TXT
            sent 127.0.0.1 a.test A
            wait 4.5s
            answer 2.0.0.127.dnsbl.test TXT SERVFAIL
            answer a.test TXT SERVFAIL
            answer a.test A SERVFAIL
            count staleAnswers 0
            """
        ),
    ]

    @Test("rules", arguments: rules)
    func rule(_ name: String, _ script: String) throws { try replay().run(script) }

    @Test("RFC 8020 §2: the cut, never in a list, never where the upstream is not on loopback")
    func cut() throws {
        let script = """
            ask b.test A
            sent UP b.test A
            reply UP b.test A NXDOMAIN ad 60
            answer b.test A NXDOMAIN
            ask s._domainkey.b.test TXT
            CUT
            ask 0.127.dnsbl.test A
            sent UP 0.127.dnsbl.test A
            reply UP 0.127.dnsbl.test A NXDOMAIN ad 60
            answer 0.127.dnsbl.test A NXDOMAIN
            ask 2.0.0.127.dnsbl.test A
            sent UP 2.0.0.127.dnsbl.test A
            """
        for (upstream, answer) in [
            ("127.0.0.1", "answer s._domainkey.b.test TXT NXDOMAIN"), ("192.0.2.1", "sent UP s._domainkey.b.test TXT"),
        ] {
            var settings = ForwarderSettings(upstreams: [try #require(Upstream(upstream))], listen: [])
            settings.lists = [try DomainName("dnsbl.test")]
            Replay(settings).run(
                script.replacing("CUT", with: answer).replacing("UP", with: upstream))
        }
    }
}
