// The named cases that run inside this process: one judge or codec each, without sockets.

import PosternAuth
import PosternDNS
import PosternMail

struct BenchCase {
    let name: String
    let about: String
    let run: () throws -> Measurement
}

/// Answers from a table, as a warm cache would.
private struct TableDNS: DNSAnswering {
    let table: [Question: Answer]
    func answers(to questions: [Question]) -> [Answer] { questions.map { table[$0] ?? .noSuchName } }
    func prefetch(_ questions: [Question]) {}
}

enum Cases {
    static let now = UnixTime(seconds: 1_790_000_000)

    static func all() throws -> [BenchCase] {
        let domain = try DomainName("example.org")
        let rsa = DKIMSigningKey(
            domain: domain, selector: try DomainName("r"), privateKey: try .generate(.rsa(bits: 2048)))
        let ed25519 = DKIMSigningKey(domain: domain, selector: try DomainName("e"), privateKey: try .generate(.ed25519))
        var table: [Question: Answer] = [:]
        for key in [rsa, ed25519] {
            let name = try domain.prefixed("_domainkey").prefixed(key.selector)
            table[Question(name, .txt)] = .records([.txt(Array(try key.privateKey.publicKeyRecord.utf8))], ttl: 300)
        }
        let dns = TableDNS(table: table)
        var cases: [BenchCase] = []
        for (kind, key) in [("rsa-2048", rsa), ("ed25519", ed25519)] {
            for (name, style, octets) in Corpus.messages {
                let body = Corpus.body(style, octets: octets)
                cases.append(
                    BenchCase(name: "sign/\(kind)/\(name)", about: "one signature over a whole message") {
                        try Measurement.of(octets: body.count, operations: 4) {
                            for _ in 0..<4 { _ = try sign(body, key) }
                        }
                    })
                let signed = try sign(body, key) + Corpus.header
                let keys = PublicKeyCache()
                cases.append(
                    BenchCase(name: "verify/\(kind)/\(name)", about: "one signature, its key already read") {
                        try Measurement.of(octets: body.count, operations: 8) {
                            for _ in 0..<8 { try verify(signed, body, keys, dns) }
                        }
                    })
            }
        }
        let forged = AuthservIDs(["example.net", "*.example.net"])
        let foreign = HeaderField(
            "Authentication-Results",
            "mx.example.com;\r\n\tdkim=pass header.d=example.net header.s=a;\r\n\tspf=pass smtp.mailfrom=example.net")
        cases.append(
            BenchCase(name: "forged/foreign-field", about: "a field of another authserv-id, looked through") {
                Measurement.of(operations: 1000) { for _ in 0..<1000 { _ = forged.isClaimed(by: foreign) } }
            })
        let question = Question(try domain.prefixed("r._domainkey"), .txt)
        cases.append(
            BenchCase(name: "dns/query", about: "a question to wire form") {
                Measurement.of(operations: 1000) { for _ in 0..<1000 { _ = DNSCodec.query(id: 7, question: question) } }
            })
        return cases + (try DNSCacheCases.all())
    }

    static func sign(
        _ body: [UInt8], _ key: DKIMSigningKey, header: [HeaderField] = Corpus.header
    ) throws -> [HeaderField] {
        let signing = DKIMSigning(header: header, keys: [key], settings: .init(), now: now)
        feed(body) { signing.update($0) }
        return try signing.finish()
    }

    private static func verify(_ header: [HeaderField], _ body: [UInt8], _ keys: PublicKeyCache, _ dns: TableDNS) throws
    {
        let verification = DKIMVerification(header: header, authors: [], settings: .init(), keys: keys, now: now)
        feed(body) { verification.update($0) }
        let findings = verification.finish(dns: dns)
        guard findings.map(\.result) == [.pass] else { throw BenchError.wrongResult("\(findings)") }
    }

    /// The body as Postfix hands it over: chunks of 65,535 octets.
    private static func feed(_ body: [UInt8], _ take: (Span<UInt8>) -> Void) {
        let span = body.span
        var start = 0
        while start < span.count {
            let end = min(start + 65_535, span.count)
            take(span.extracting(start..<end))
            start = end
        }
    }
}

enum BenchError: Error, CustomStringConvertible {
    case wrongResult(String)
    case usage(String)
    case system(String)
    var description: String {
        switch self {
        case .wrongResult(let text): "the case did not do its work: \(text)"
        case .usage(let text): "\(text); try postern-bench --help"
        case .system(let text): text
        }
    }
}
