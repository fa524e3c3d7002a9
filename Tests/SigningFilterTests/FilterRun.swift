// Whole messages through SigningFilter without libmilter: header fields and body in, a verdict and log lines out.

import PosternAuth
import PosternDNS
import PosternMail
import PosternMilter
import TestSupport

@testable import postern_dkim

/// A postern-dkim with two keys for example.org, whose public halves are in the zone.
struct FilterBench {
    static let rsa = Result { try PrivateKey.generate(.rsa(bits: 2048)) }
    static let ed25519 = Result { try PrivateKey.generate(.ed25519) }

    let log = RecordingLog()
    let clock = ScriptedClock()
    let zone: ZoneResolver
    var service: SigningService

    /// - Parameter zone: more of the zone, RFC 1035 master file text.
    init(
        zone more: String = "", failing: Set<DomainName> = [], verify: Bool = true, rule: AuthorRule = .any,
        users: [String] = []
    ) throws {
        let domain = try DomainName("example.org")
        let keys = [
            DKIMSigningKey(domain: domain, selector: try DomainName("r"), privateKey: try Self.rsa.get(), users: users),
            DKIMSigningKey(
                domain: domain, selector: try DomainName("e"), privateKey: try Self.ed25519.get(), users: users),
        ]
        let zone = try ZoneResolver(
            zone: """
                r._domainkey.example.org. 60 IN TXT \(try ZoneResolver.strings(Self.rsa.get().publicKeyRecord))
                e._domainkey.example.org. 60 IN TXT \(try ZoneResolver.strings(Self.ed25519.get().publicKeyRecord))
                \(more)
                """, failing: failing)
        self.zone = zone
        service = SigningService(
            origin: OriginSettings(
                networks: [try Network("127.0.0.0/8"), try Network("::1/128"), try Network("10.0.0.0/8")],
                relays: [try Network("203.0.113.0/24")], passthrough: ["REINJECT"]),
            authservID: "example.net", ownIDs: AuthservIDs(["example.net", "*.example.net"]), verify: verify,
            verification: DKIMVerificationSettings(), signing: DKIMSigningSettings(), authorRule: rule, keys: keys,
            publicKeys: PublicKeyCache(), log: log, now: clock.now, dns: { zone })
    }

    func session(_ address: String, name: String = "mx.example.net", port: UInt16 = 4711, daemon: String? = nil)
        -> SigningFilter
    {
        SigningFilter(
            session: SMTPSession(
                client: SMTPClient(name: Array(name.utf8), address: IPAddress(address), port: port), daemonName: daemon),
            service: service)
    }
}

extension SigningFilter {
    /// A message in one piece; LF line ends are taken as CRLF.
    func send(_ text: String, from: String = "ann@example.org", login: String? = nil, queueID: String = "4abc")
        -> Verdict
    {
        send(MessageText(octets: text.utf8), from: from, login: login, queueID: queueID)
    }

    func send(_ message: MessageText, from: String = "ann@example.org", login: String? = nil, queueID: String = "4abc")
        -> Verdict
    {
        mail(Envelope(mailFrom: Array(from.utf8), login: login.map { Array($0.utf8) }))
        for field in message.header { header(field) }
        var interest = endOfHeader(queueID: queueID)
        var rest = message.body[...]
        while interest == .wanted, !rest.isEmpty {
            let chunk = Array(rest.prefix(7))
            interest = body(chunk.span)
            rest = rest.dropFirst(7)
        }
        return endOfMessage()
    }
}

extension Verdict {
    /// The message as the next host sees it: the insertions on top of it.
    func applied(to message: MessageText) -> MessageText {
        var message = message
        message.header = inserted + message.header
        return message
    }
    /// The one Authentication-Results field added, unfolded.
    var results: String? {
        inserted.first { $0.isNamed("Authentication-Results") }.map {
            String(decoding: $0.value, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
        }
    }
}
