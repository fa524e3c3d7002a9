// What the tests of the DKIM judge share: DNS out of a dictionary, keys, bodies in chunks, and sign-and-verify in one
// call.

import PosternAuth
import PosternDNS
import PosternMail
import Synchronization
import TestSupport

/// DNS answers out of a dictionary; what is not in it does not exist. Counts the batches it was asked.
final class TestZone: DNSAnswering, Sendable {
    private let answers: [DomainName: Answer]
    private let asked = Mutex<[[Question]]>([])

    init(_ answers: [String: Answer] = [:]) throws {
        self.answers = try Dictionary(uniqueKeysWithValues: answers.map { (try DomainName($0.key), $0.value) })
    }

    /// TXT records by name.
    convenience init(txt: [String: String]) throws {
        try self.init(txt.mapValues { .txt($0) })
    }

    func answers(to questions: [Question]) -> [Answer] {
        asked.withLock { $0.append(questions) }
        return questions.map { $0.type == .txt ? answers[$0.name] ?? .noSuchName : .noData }
    }

    func prefetch(_ questions: [Question]) {}

    var batches: [[Question]] { asked.withLock { $0 } }
}

extension Answer {
    static func txt(_ texts: String...) -> Answer { .records(texts.map { .txt(Array($0.utf8)) }, ttl: 300) }
}

/// Keys that are slow to make, made once for all tests.
enum TestKeys {
    static let rsa = Result { try PrivateKey.generate(.rsa(bits: 1024)) }
    static let rsa2048 = Result { try PrivateKey.generate(.rsa(bits: 2048)) }
    static let ed25519 = Result { try PrivateKey.generate(.ed25519) }

    static let domain = "example.com"

    /// The signing key of that kind under the selector `rsa` or `ed`.
    static func signing(_ algorithm: DKIMAlgorithm) throws -> DKIMSigningKey {
        let isRSA = algorithm == .rsaSHA256
        return DKIMSigningKey(
            domain: try DomainName(domain), selector: try DomainName(isRSA ? "rsa" : "ed"),
            privateKey: try (isRSA ? rsa : ed25519).get())
    }

    static func records() throws -> [String: String] {
        [
            "rsa._domainkey.example.com": try rsa.get().publicKeyRecord,
            "ed._domainkey.example.com": try ed25519.get().publicKeyRecord,
        ]
    }

    static func zone() throws -> TestZone { try TestZone(txt: records()) }
}

/// A message for tests.
struct TestMessage {
    var header: [HeaderField]
    var body: [UInt8]

    init(_ header: [HeaderField], body: String = "Hello\r\n") {
        self.header = header
        self.body = Array(body.utf8)
    }

    init(text: String) {
        let message = MessageText(octets: Array(text.utf8))
        header = message.header
        body = message.body
    }

    init(fixture: String) throws {
        let message = MessageText(octets: try Fixtures.octets("rfc-examples/dkim/\(fixture)"))
        header = message.header
        body = message.body
    }

    static var plain: TestMessage {
        TestMessage([
            HeaderField("From", "Ann <ann@example.com>"), HeaderField("To", "bo@example.net"),
            HeaderField("Subject", "lunch"), HeaderField("Date", "Fri, 6 Nov 2026 10:00:00 +0000"),
        ])
    }
}

let testNow = UnixTime(seconds: 1_800_000_000)

/// Calls `body` with pieces of `octets`, sizes drawn from `sizes`.
func inChunks(_ octets: [UInt8], sizes: ClosedRange<Int>, seed: UInt64 = 1, _ body: (Span<UInt8>) -> Void) {
    var random = SeededRandom(seed: seed)
    var start = 0
    while start < octets.count {
        let end = min(octets.count, start + Int.random(in: sizes, using: &random))
        let chunk = Array(octets[start..<end])
        body(chunk.span)
        start = end
    }
}

/// Signs and puts the signatures on top.
func sign(
    _ message: TestMessage, keys: [DKIMSigningKey], settings: DKIMSigningSettings = DKIMSigningSettings(),
    now: UnixTime = testNow, chunks: ClosedRange<Int> = 65_535...65_535
) throws -> TestMessage {
    let signing = DKIMSigning(header: message.header, keys: keys, settings: settings, now: now)
    inChunks(message.body, sizes: chunks) { signing.update($0) }
    var signed = message
    signed.header = try signing.finish() + message.header
    return signed
}

/// Judges a message's signatures.
func verify(
    _ message: TestMessage, dns: some DNSAnswering, authors: [String] = [TestKeys.domain],
    settings: DKIMVerificationSettings = DKIMVerificationSettings(), now: UnixTime = testNow,
    chunks: ClosedRange<Int> = 65_535...65_535, keys: PublicKeyCache = PublicKeyCache()
) throws -> [DKIMFinding] {
    let verification = DKIMVerification(
        header: message.header, authors: try authors.map { try DomainName($0) }, settings: settings, keys: keys,
        now: now)
    inChunks(message.body, sizes: chunks) { verification.update($0) }
    return verification.finish(dns: dns)
}
