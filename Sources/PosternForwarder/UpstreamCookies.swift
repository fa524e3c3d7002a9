// The cookies that we and one upstream know each other by (RFC 7873): a forger who does not see our queries must guess 64
// bits more. Our half is offered with every query until a reply shows that the upstream does not speak them; it also
// tells a query of ours that came back to our own door, since nobody else has it.

import PosternDNS
import PosternMail

struct UpstreamCookies {
    /// Random, for this upstream and this process alone. Source: RFC 7873 §4.1, RFC 9018 §3.
    private(set) var client: [UInt8]
    /// What the upstream gave us last; it speaks cookies.
    private var server: [UInt8] = []
    private var renewAt: UnixTime
    /// It does not speak them; they are offered again then.
    private var offerAt: UnixTime?

    /// How long our half is used. Source: RFC 7873 §7.1: at most 36 days, and some hours are right.
    static let lifetime = Duration.seconds(86_400)
    /// How long an upstream that does not speak cookies is left alone with them.
    static let pause = Duration.seconds(3600)

    /// What a reply's cookie, or its want, says of the reply.
    enum Verdict {
        case good
        /// The reply is not the upstream's, or spoilt: it is to be discarded.
        case wrong
        /// One was expected: the reply is to be discarded, and the question is for TCP, where the upstream can show that
        /// it gave cookies up.
        case missing
    }

    init(now: UnixTime) {
        client = Self.random()
        renewAt = now + Self.lifetime
    }

    private static func random() -> [UInt8] {
        (0..<DNSCookie.clientOctets).map { _ in UInt8.random(in: .min ... .max) }
    }

    /// The cookie for the next query; `nil`: none.
    mutating func next(now: UnixTime) -> DNSCookie? {
        if now >= renewAt { self = UpstreamCookies(now: now) }
        if let offerAt, now < offerAt { return nil }
        return DNSCookie(client: client, server: server)
    }

    /// - Parameter sent: the cookie of the query.
    /// - Parameter isStream: the reply came over TCP, where nobody forges from afar.
    /// - Source: RFC 7873 §5.3.
    mutating func judge(_ reply: ReplyMessage, to sent: DNSCookie?, isStream: Bool, now: UnixTime) -> Verdict {
        guard let sent else { return .good }
        guard let octets = reply.options.cookieOctets else {
            // A server cookie in the query says that the upstream spoke them.
            if !sent.server.isEmpty, !isStream { return .missing }
            if sent.client == client, isStream || server.isEmpty {
                server = []
                offerAt = now + Self.pause
            }
            return .good
        }
        guard let cookie = DNSCookie(octets), cookie.client == sent.client else { return .wrong }
        if cookie.client == client {
            server = cookie.server
            offerAt = nil
        }
        return .good
    }
}
