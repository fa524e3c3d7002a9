// TCP to upstreams, scripted: one connection for many questions, replies in any order, and what becomes of questions
// whose connection ends.

import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternForwarder

@Suite("TCP to upstreams")
struct StreamReuseTests {
    /// A question over UDP whose reply is truncated.
    private static func truncated(_ name: String, _ upstream: String = "192.0.2.1") -> String {
        """
        ask \(name) A
        sent \(upstream) \(name) A
        reply \(upstream) \(name) A NOERROR +tc 300 192.0.2.9

        """
    }
    private static func answered(_ name: String, _ upstream: String = "192.0.2.1") -> String {
        """
        reply \(upstream) \(name) A NOERROR 300 192.0.2.9
        answer \(name) A NOERROR 300 192.0.2.9

        """
    }
    /// The first question over TCP, answered.
    private static let first =
        truncated("a.test") + "dialed 192.0.2.1\nnothing\nopened 192.0.2.1\nsent 192.0.2.1 a.test A tcp\n"
        + answered("a.test")

    static let rules: [(String, String)] = [
        (
            "RFC 7766 §6.2.1: the connection is used again",
            first + truncated("b.test") + "sent 192.0.2.1 b.test A tcp\n" + answered("b.test")
                + "count upstreamConnections 1\ncount upstreamStreamQueries 2"
        ),
        (
            "RFC 7766 §6.2.1.1, §7: questions are pipelined, and answered in any order",
            truncated("a.test") + truncated("b.test") + truncated("c.test") + "dialed 192.0.2.1\nopened 192.0.2.1\n"
                + "sent 192.0.2.1 a.test A tcp\nsent 192.0.2.1 b.test A tcp\nsent 192.0.2.1 c.test A tcp\n"
                + answered("c.test") + answered("a.test") + answered("b.test") + "count upstreamConnections 1"
        ),
        (
            "RFC 7766 §6.2.3: an idle connection is closed, and the next question opens another",
            first + "wait 9.9s\n" + truncated("b.test") + "sent 192.0.2.1 b.test A tcp\n" + answered("b.test")
                + "wait 9.9s\nwait 0.2s\nclosed 192.0.2.1\n" + truncated("c.test")
                + "dialed 192.0.2.1\nopened 192.0.2.1\nsent 192.0.2.1 c.test A tcp\n" + answered("c.test")
        ),
        (
            "RFC 7766 §6.2.4: the upstream closes it while nobody asks: nothing happens",
            first + "hangup 192.0.2.1\nclosed 192.0.2.1\nnothing\ncount upstreamFailures 0\n" + truncated("b.test")
                + "dialed 192.0.2.1\nopened 192.0.2.1\nsent 192.0.2.1 b.test A tcp\n" + answered("b.test")
        ),
        (
            "RFC 7766 §6.2.4: questions in flight on a connection that ends are asked on a new one, all of them",
            first + truncated("b.test") + "sent 192.0.2.1 b.test A tcp\n" + truncated("c.test")
                + "sent 192.0.2.1 c.test A tcp\n" + answered("b.test") + truncated("d.test") + """
                    sent 192.0.2.1 d.test A tcp
                    hangup 192.0.2.1
                    dialed 192.0.2.1
                    opened 192.0.2.1
                    sent 192.0.2.1 c.test A tcp
                    sent 192.0.2.1 d.test A tcp
                    count upstreamFailures 0
                    count upstreamConnections 2

                    """ + answered("d.test") + answered("c.test")
        ),
        (
            "once: when the new connection ends too, though it replied, the next upstream is asked",
            first + truncated("b.test") + """
                sent 192.0.2.1 b.test A tcp
                hangup 192.0.2.1
                dialed 192.0.2.1
                opened 192.0.2.1
                sent 192.0.2.1 b.test A tcp

                """ + truncated("c.test") + "sent 192.0.2.1 c.test A tcp\n" + answered("c.test") + """
                    hangup 192.0.2.1
                    warning upstream 192.0.2.1: it closed the TCP connection; trying 192.0.2.2
                    sent 192.0.2.2 b.test A

                    """ + answered("b.test", "192.0.2.2")
        ),
        (
            "a connection that never replied and ends is the upstream's failure",
            truncated("a.test") + """
                dialed 192.0.2.1
                opened 192.0.2.1
                sent 192.0.2.1 a.test A tcp
                hangup 192.0.2.1
                warning upstream 192.0.2.1: it closed the TCP connection; trying 192.0.2.2
                sent 192.0.2.2 a.test A

                """ + answered("a.test", "192.0.2.2")
        ),
        (
            "a connection that cannot be opened is the upstream's failure",
            truncated("a.test") + """
                dialed 192.0.2.1
                hangup 192.0.2.1
                warning upstream 192.0.2.1: it closed the TCP connection; trying 192.0.2.2
                sent 192.0.2.2 a.test A

                """ + answered("a.test", "192.0.2.2")
        ),
        (
            "a connection on which nothing comes takes no new questions; a late reply on it still counts",
            first + truncated("b.test") + """
                sent 192.0.2.1 b.test A tcp
                wait 1.5s
                warning upstream 192.0.2.1: no reply in 1.5s; trying 192.0.2.2
                sent 192.0.2.2 b.test A

                """ + truncated("c.test")
                + "dialed 192.0.2.1\nopened 192.0.2.1\nsent 192.0.2.1 c.test A tcp\n" + answered("c.test") + """
                    reply 192.0.2.1 b.test A NOERROR 300 192.0.2.9
                    answer b.test A NOERROR 300 192.0.2.9
                    """
        ),
        (
            "RFC 7766 §7: a reply to another question ends the connection; its other questions are asked again",
            first + truncated("b.test") + "sent 192.0.2.1 b.test A tcp\n" + truncated("c.test") + """
                sent 192.0.2.1 c.test A tcp
                reply 192.0.2.1 b.test A NOERROR +type 300 192.0.2.9
                warning upstream 192.0.2.1: a reply over TCP that is not ours; trying 192.0.2.2
                sent 192.0.2.2 b.test A
                dialed 192.0.2.1
                opened 192.0.2.1
                sent 192.0.2.1 c.test A tcp
                count ignoredReplies 1

                """ + answered("b.test", "192.0.2.2") + answered("c.test")
        ),
        (
            "a message with the id of no question is counted and ignored; sixteen end the connection",
            first + truncated("b.test") + "sent 192.0.2.1 b.test A tcp\n"
                + String(repeating: "reply 192.0.2.1 b.test A NOERROR +id 300 192.0.2.9\n", count: 15)
                + "count ignoredReplies 15\nreply 192.0.2.1 b.test A NOERROR +id 300 192.0.2.9\n"
                + "dialed 192.0.2.1\nopened 192.0.2.1\nsent 192.0.2.1 b.test A tcp\n" + answered("b.test")
        ),
        (
            "an empty message is no DNS, and ends the connection",
            first + truncated("b.test") + """
                sent 192.0.2.1 b.test A tcp
                reply 192.0.2.1 b.test A NOERROR +empty 300 192.0.2.9
                dialed 192.0.2.1
                opened 192.0.2.1
                sent 192.0.2.1 b.test A tcp

                """ + answered("b.test")
        ),
        (
            "a reply that comes twice is taken once",
            first + "reply 192.0.2.1 a.test A NOERROR 300 192.0.2.8\ncount ignoredReplies 1\n" + truncated("b.test")
                + "sent 192.0.2.1 b.test A tcp\n" + answered("b.test")
        ),
    ]

    @Test("rules", arguments: rules)
    func rule(_ name: String, _ script: String) throws {
        let upstreams = try ["192.0.2.1", "192.0.2.2"].map { try #require(Upstream($0)) }
        Replay(ForwarderSettings(upstreams: upstreams, listen: [])).run(script)
    }

    // MARK: With real sockets

    /// Replies whose datagrams are truncated, from a zone of ten long texts.
    private static func upstream(_ stream: @escaping @Sendable (ReceivedQuery) -> Reaction? = { _ in nil }) throws
        -> FakeUpstream
    {
        let long = (0..<10).map { number in
            let text = String(repeating: "\(number)", count: 200)
            return "x\(number).test. 300 TXT \"\(text)\" \"\(text)\" \"\(text)\" \"\(text)\" \"\(text)\" \"\(text)\""
        }
        let zone = try StaticZone(text: long.joined(separator: "\n"))
        return try FakeUpstream { query in
            guard query.isStream else { return .send([query.reply(from: zone, maxOctets: 1232)]) }
            return stream(query) ?? .send([query.reply(from: zone)])
        }
    }

    @Test("ten long answers come over one connection")
    func shared() throws {
        let upstream = try Self.upstream()
        let rig = try Rig([upstream])
        let client = try RawClient(unix: rig.path)
        let questions = try (0..<10).map { try question("x\($0).test TXT") }
        for (id, question) in questions.enumerated() {
            client.sendFramed(DNSCodec.query(id: UInt16(id), question: question))
        }
        for _ in questions {
            let octets = try #require(client.receive())
            let reply = try ReplyMessage(octets)
            #expect(octets.count > 1232 && reply.answers.count == 1 && reply.rcode == .noError)
        }
        #expect(upstream.connections == 1)
        #expect(rig.server.counters.upstreamConnections == 1 && rig.server.counters.upstreamStreamQueries == 10)
    }

    @Test("a connection that ends under a question is replaced, and the question answered")
    func replaced() throws {
        let upstream = try Self.upstream { query in
            // The second question's connection is closed, once.
            "\(query.question.name)" == "x1.test" && Self.isFirst(query) ? Reaction.nothing : nil
        }
        let rig = try Rig([upstream])
        for number in 0..<3 {
            guard case .records = try rig.ask("x\(number).test TXT") else {
                Issue.record("no answer for x\(number).test")
                return
            }
        }
        #expect(upstream.connections == 2)
        #expect(
            upstream.queries.filter(\.isStream).map { "\($0.question.name)" } == [
                "x0.test", "x1.test", "x1.test", "x2.test",
            ])
        #expect(rig.log.warnings == [])
    }

    private static let seen = Mutex<Set<UInt16>>([])
    /// True for the first query alone.
    private static func isFirst(_ query: ReceivedQuery) -> Bool {
        seen.withLock { seen in
            defer { seen.insert(query.message.header.id) }
            return seen.isEmpty
        }
    }
}
