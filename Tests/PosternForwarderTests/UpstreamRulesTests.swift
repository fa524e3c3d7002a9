// What upstreams speak and how they fail, scripted: cookies, EDNS, late replies, lies, and answers that validation
// refused.

import PosternDNS
import PosternMail
import Testing

@testable import PosternForwarder

@Suite("what upstreams say")
struct UpstreamRulesTests {
    /// The upstream has shown that it speaks cookies.
    private static let spoken = """
        ask a.test A
        sent 192.0.2.1 a.test A edns cookie
        reply 192.0.2.1 a.test A NOERROR +cookie=server-1 300 192.0.2.9
        answer a.test A NOERROR 300 192.0.2.9

        """

    static let cookies: [(String, String)] = [
        (
            "RFC 7873 §5.3: the server's cookie is sent back, the newest one",
            spoken + """
                ask b.test A
                sent 192.0.2.1 b.test A cookie=server-1
                reply 192.0.2.1 b.test A NOERROR +cookie=server-2 300 192.0.2.9
                answer b.test A NOERROR 300 192.0.2.9
                ask c.test A
                sent 192.0.2.1 c.test A cookie=server-2
                """
        ),
        (
            "RFC 7873 §5.3: a reply with another client cookie, or a cookie of no legal length, is discarded",
            """
            ask a.test A
            sent 192.0.2.1 a.test A cookie
            reply 192.0.2.1 a.test A NOERROR +wrongcookie=server-1 300 192.0.2.66
            reply 192.0.2.1 a.test A NOERROR +oddcookie 300 192.0.2.66
            nothing
            count cookieMismatches 2
            count ignoredReplies 2
            reply 192.0.2.1 a.test A NOERROR +cookie=server-1 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            """
        ),
        (
            "RFC 7873 §5.3: of several cookies the first counts",
            """
            ask a.test A
            sent 192.0.2.1 a.test A cookie
            reply 192.0.2.1 a.test A NOERROR +cookie=server-1 +wrongcookie=server-2 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            """
        ),
        (
            "an upstream that does not speak them is left alone with them for an hour",
            """
            ask a.test A
            sent 192.0.2.1 a.test A cookie
            reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            ask b.test A
            sent 192.0.2.1 b.test A edns nocookie
            reply 192.0.2.1 b.test A NOERROR 300 192.0.2.9
            answer b.test A NOERROR 300 192.0.2.9
            wait 3600s
            ask c.test A
            sent 192.0.2.1 c.test A cookie
            """
        ),
        (
            "RFC 7873 §5.3: where one is expected, a reply without is discarded; TCP tells what is true: a forgery",
            spoken + """
                ask b.test A
                sent 192.0.2.1 b.test A cookie=server-1
                reply 192.0.2.1 b.test A NOERROR 300 192.0.2.66
                dialed 192.0.2.1
                opened 192.0.2.1
                sent 192.0.2.1 b.test A tcp cookie=server-1
                count cookieMismatches 1
                reply 192.0.2.1 b.test A NOERROR +first +cookie=server-1 300 192.0.2.9
                answer b.test A NOERROR 300 192.0.2.9     # the right datagram came after the forged one
                """
        ),
        (
            "and TCP tells what is true: the upstream gave them up",
            spoken + """
                ask b.test A
                sent 192.0.2.1 b.test A cookie=server-1
                reply 192.0.2.1 b.test A NOERROR 300 192.0.2.9
                dialed 192.0.2.1
                opened 192.0.2.1
                sent 192.0.2.1 b.test A tcp
                reply 192.0.2.1 b.test A NOERROR 300 192.0.2.9
                answer b.test A NOERROR 300 192.0.2.9
                ask c.test A
                sent 192.0.2.1 c.test A edns nocookie
                reply 192.0.2.1 c.test A NOERROR 300 192.0.2.9
                answer c.test A NOERROR 300 192.0.2.9
                """
        ),
        (
            "RFC 7873 §5.3: BADCOOKIE, and the question is asked once more with the new one",
            """
            ask a.test A
            sent 192.0.2.1 a.test A cookie
            reply 192.0.2.1 a.test A EMPTY +badcookie=server-1
            sent 192.0.2.1 a.test A cookie=server-1
            reply 192.0.2.1 a.test A NOERROR +cookie=server-1 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            count upstreamFailures 0
            """
        ),
        (
            "RFC 7873 §5.3: BADCOOKIE again, and it is asked over TCP",
            """
            ask a.test A
            sent 192.0.2.1 a.test A cookie
            reply 192.0.2.1 a.test A EMPTY +badcookie=server-1
            sent 192.0.2.1 a.test A cookie=server-1
            reply 192.0.2.1 a.test A EMPTY +badcookie=server-2
            dialed 192.0.2.1
            opened 192.0.2.1
            sent 192.0.2.1 a.test A tcp cookie=server-2
            reply 192.0.2.1 a.test A NOERROR +cookie=server-2 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            """
        ),
        (
            "RFC 7873 §7.1: our half is another one after a day",
            spoken + """
                wait 86400s
                ask b.test A
                sent 192.0.2.1 b.test A cookie
                reply 192.0.2.1 b.test A NOERROR 300 192.0.2.9
                answer b.test A NOERROR 300 192.0.2.9
                """
        ),
    ]

    static let edns: [(String, String)] =
        ["FORMERR", "NOTIMP", "BADVERS"].map { rcode in
            (
                "RFC 6891 §6.2.2, §7: \(rcode) without an OPT record: asked without EDNS, and remembered for 15 minutes",
                """
                ask a.test A
                sent 192.0.2.1 a.test A edns
                reply 192.0.2.1 a.test A REPLY
                sent 192.0.2.1 a.test A plain
                reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
                answer a.test A NOERROR 300 192.0.2.9
                ask b.test A
                sent 192.0.2.1 b.test A SECOND
                reply 192.0.2.1 b.test A NOERROR 300 192.0.2.9
                answer b.test A NOERROR 300 192.0.2.9
                wait 900s
                ask c.test A
                sent 192.0.2.1 c.test A edns
                """
                .replacing("REPLY", with: rcode == "BADVERS" ? "EMPTY +badvers" : "\(rcode) +noedns")
                // BADVERS needs an OPT record: it speaks EDNS after all.
                .replacing("SECOND", with: rcode == "BADVERS" ? "edns" : "plain")
            )
        } + [
            (
                "RFC 6891 §6.2.2: silence with EDNS, an answer without: so it is asked from then on",
                """
                ask a.test A
                sent 192.0.2.1 a.test A edns
                wait 1.5s
                warning upstream 192.0.2.1: no reply in 1.5s; trying again
                sent 192.0.2.1 a.test A plain
                reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
                answer a.test A NOERROR 300 192.0.2.9
                ask b.test A
                sent 192.0.2.1 b.test A plain
                """
            ),
            (
                "silence of an upstream that has shown EDNS is a lost datagram: asked with EDNS again",
                """
                ask a.test A
                sent 192.0.2.1 a.test A edns
                reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
                answer a.test A NOERROR 300 192.0.2.9
                ask b.test A
                sent 192.0.2.1 b.test A edns
                wait 1.5s
                warning upstream 192.0.2.1: no reply in 1.5s; trying again
                sent 192.0.2.1 b.test A edns
                """
            ),
        ]

    static let lateness: [(String, String)] = [
        (
            "one upstream alone: a slow look-up has four timeouts, and the first query's reply counts",
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            wait 1.5s
            warning upstream 192.0.2.1: no reply in 1.5s; trying again
            sent 192.0.2.1 a.test A
            wait 4.4s
            nothing
            reply 192.0.2.1 a.test A NOERROR +first 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            ask a.test A
            answer a.test A NOERROR 300 192.0.2.9
            count givenUp 0
            """
        ),
        (
            "then it is SERVFAIL, once and for five seconds",
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            wait 1.5s
            warning upstream 192.0.2.1: no reply in 1.5s; trying again
            sent 192.0.2.1 a.test A
            wait 4.5s
            answer a.test A SERVFAIL
            count givenUp 1
            reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
            ask a.test A
            answer a.test A SERVFAIL                  # its sockets were closed
            """
        ),
        (
            "late replies that say there is no answer end the waiting",
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            wait 1.5s
            warning upstream 192.0.2.1: no reply in 1.5s; trying again
            sent 192.0.2.1 a.test A
            wait 1.5s
            reply 192.0.2.1 a.test A SERVFAIL +first
            nothing
            reply 192.0.2.1 a.test A SERVFAIL
            answer a.test A SERVFAIL
            """
        ),
        (
            "a late reply that is truncated is asked for over TCP",
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            wait 1.5s
            warning upstream 192.0.2.1: no reply in 1.5s; trying again
            sent 192.0.2.1 a.test A
            wait 1.5s
            reply 192.0.2.1 a.test A EMPTY +first +tc
            dialed 192.0.2.1
            opened 192.0.2.1
            sent 192.0.2.1 a.test A tcp
            reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            """
        ),
        (
            "lies are counted and ignored: id, name, type, a query, nothing, half a reply; then the reply, twice",
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            reply 192.0.2.1 a.test A NOERROR +id 300 192.0.2.66
            reply 192.0.2.1 a.test A NOERROR +name 300 192.0.2.66
            reply 192.0.2.1 a.test A NOERROR +type 300 192.0.2.66
            reply 192.0.2.1 a.test A NOERROR +query 300 192.0.2.66
            reply 192.0.2.1 a.test A NOERROR +empty 300 192.0.2.66
            reply 192.0.2.1 a.test A NOERROR +cut 300 192.0.2.66
            nothing
            count ignoredReplies 6
            reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            reply 192.0.2.1 a.test A NOERROR 300 192.0.2.66
            ask a.test A
            answer a.test A NOERROR 300 192.0.2.9
            """
        ),
    ]

    /// A policy that was kept and is stale now.
    private static let stale = """
        ask _dmarc.a.test TXT
        sent 192.0.2.1 _dmarc.a.test TXT
        reply 192.0.2.1 _dmarc.a.test TXT NOERROR 300 v=DMARC1
        answer _dmarc.a.test TXT NOERROR 300 v=DMARC1
        wait 301s
        ask _dmarc.a.test TXT
        sent 192.0.2.1 _dmarc.a.test TXT

        """

    static let failures: [(String, String)] =
        [
            (
                "RFC 8767 §5: SERVFAIL is a failure to refresh: the stale answer is used",
                stale + """
                    reply 192.0.2.1 _dmarc.a.test TXT SERVFAIL
                    sent 192.0.2.1 _dmarc.a.test TXT
                    reply 192.0.2.1 _dmarc.a.test TXT SERVFAIL
                    answer _dmarc.a.test TXT NOERROR 30 v=DMARC1
                    count bogusAnswers 0
                    """
            )
        ]
        + [3, 13, 22, 23].map { code in
            (
                "RFC 8914: SERVFAIL with code \(code) too, which says nothing of validation",
                stale + """
                    reply 192.0.2.1 _dmarc.a.test TXT SERVFAIL +ede=\(code)
                    sent 192.0.2.1 _dmarc.a.test TXT
                    reply 192.0.2.1 _dmarc.a.test TXT SERVFAIL +ede=\(code)
                    answer _dmarc.a.test TXT NOERROR 30 v=DMARC1
                    """
            )
        }
        + (6...12).map { code in
            (
                "RFC 8914 §4.\(code + 1): SERVFAIL with code \(code) is bogus: no other is asked, nothing stale is used",
                stale + """
                    reply 192.0.2.1 _dmarc.a.test TXT SERVFAIL +ede=\(code)
                    answer _dmarc.a.test TXT SERVFAIL
                    ask _dmarc.a.test TXT
                    answer _dmarc.a.test TXT SERVFAIL
                    wait 5s
                    ask _dmarc.a.test TXT
                    sent 192.0.2.1 _dmarc.a.test TXT
                    reply 192.0.2.1 _dmarc.a.test TXT SERVFAIL
                    sent 192.0.2.1 _dmarc.a.test TXT
                    reply 192.0.2.1 _dmarc.a.test TXT SERVFAIL
                    answer _dmarc.a.test TXT SERVFAIL         # the older answer has gone for good
                    count bogusAnswers 1
                    count staleAnswers 0
                    """
            )
        }

    private func run(_ script: String) throws {
        Replay(ForwarderSettings(upstreams: [try #require(Upstream("192.0.2.1"))], listen: [])).run(script)
    }

    @Test("cookies", arguments: cookies)
    func cookieRule(_ rule: String, _ script: String) throws { try run(script) }
    @Test("EDNS", arguments: edns)
    func ednsRule(_ rule: String, _ script: String) throws { try run(script) }
    @Test("late replies and lies", arguments: lateness)
    func latenessRule(_ rule: String, _ script: String) throws { try run(script) }
    @Test("SERVFAIL and what is stale", arguments: failures)
    func failureRule(_ rule: String, _ script: String) throws { try run(script) }

    @Test("replies that lead from query to query end at sixteen")
    func most() throws {
        let upstreams = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        var script = "ask a.test A\n"
        // Four queries to each, then three to the first, then one: two upstreams are left, and are not asked.
        for upstream in upstreams {
            script += """
                sent UP a.test A cookie
                reply UP a.test A EMPTY +badcookie=server-1
                sent UP a.test A cookie=server-1
                reply UP a.test A EMPTY +badcookie=server-2
                dialed UP
                opened UP
                sent UP a.test A tcp cookie=server-2
                reply UP a.test A FORMERR +cookie=server-2
                sent UP a.test A tcp plain
                reply UP a.test A FORMERR
                warning upstream UP: answered FORMERR

                """.replacing("UP", with: upstream)
        }
        script += """
            sent 192.0.2.1 a.test A cookie=server-2
            reply 192.0.2.1 a.test A EMPTY +badcookie=server-3
            sent 192.0.2.1 a.test A tcp cookie=server-3
            reply 192.0.2.1 a.test A FORMERR +cookie=server-3
            sent 192.0.2.1 a.test A tcp plain
            reply 192.0.2.1 a.test A FORMERR
            sent 192.0.2.2 a.test A cookie=server-2
            reply 192.0.2.2 a.test A EMPTY +badcookie=server-3

            """
        Replay(ForwarderSettings(upstreams: try upstreams.map { try #require(Upstream($0)) }, listen: []))
            .run(script + "answer a.test A SERVFAIL\ncount upstreamQueries 16")
    }

    @Test("in mixed case a reply in another case is a lie")
    func mixedCase() throws {
        var settings = ForwarderSettings(upstreams: [try #require(Upstream("192.0.2.1"))], listen: [])
        settings.mixesCase = true
        Replay(settings).run(
            """
            ask a.test A
            sent 192.0.2.1 a.test A
            reply 192.0.2.1 a.test A NOERROR +case 300 192.0.2.66
            count ignoredReplies 1
            reply 192.0.2.1 a.test A NOERROR 300 192.0.2.9
            answer a.test A NOERROR 300 192.0.2.9
            """)
    }
}
