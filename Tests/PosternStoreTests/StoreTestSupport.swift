// What stores leave in a folder, and samples.

import Foundation
import PosternMail
import PostfixHarness
import Synchronization
import TestSupport
import Testing

@testable import PosternStore

extension TemporaryFolder {
    func path(_ name: String) -> String { file(name).path }
    var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }
    func octets(_ name: String) throws -> [UInt8] { try read(name) }
    func write(_ octets: [UInt8], to name: String) throws { try Data(octets).write(to: file(name)) }
    func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path(name))[.posixPermissions] as? Int
    }
}

enum Sample {
    static let start = UnixTime(seconds: 1_790_000_000)

    static func name(_ text: String) throws -> DomainName { try DomainName(text) }

    /// A message whose every field has something in it.
    static func full(_ number: Int = 0, time: UnixTime = start) throws -> MessageFacts {
        let helo = HELOIdentity(Array("mx.example.net".utf8))
        let published = DMARCPublishedPolicy(
            policy: .reject, subdomainPolicy: .quarantine, nonexistentPolicy: DMARCPolicy.none, dkimAlignment: .strict,
            spfAlignment: .relaxed, publicSuffix: .no, isTesting: true, aggregateReports: "mailto:a@example.org",
            failureReports: "mailto:f@example.org", failureOptions: "1:d")
        return MessageFacts(
            time: time, queueID: "4cXk2J\(number)", client: .v4(0xC000_0207),
            dmarc: DMARCFinding(
                result: .fail, reason: .notAligned, authorDomain: try name("news.example.org"),
                organizationalDomain: try name("example.org"), policyDomain: try name("example.org"),
                published: published, policy: .quarantine, policyTag: .sp, applied: .none,
                alignedSPF: try name("bounce.example.org"),
                alignedDKIM: [try name("example.org"), try name("a.example.org")]),
            discovery: .psl,
            spf: [
                SPFFinding(
                    result: .fail, reason: .matched,
                    identity: .mailFrom(MailFromIdentity(sender: Array("Ann@example.net".utf8), helo: helo)),
                    mechanism: "-all",
                    chain: [
                        SPFStep(domain: try name("example.net"), term: "include:a.example"),
                        SPFStep(domain: try name("a.example"), term: "-all"),
                    ], lookups: 3, voidLookups: 1, explanation: "ask us"),
                SPFFinding(result: .none, reason: .noRecord, identity: .helo(helo)),
                SPFFinding(
                    result: .none, reason: .badDomain("an empty label"),
                    identity: .mailFrom(MailFromIdentity(sender: Array("a@b..c".utf8), helo: helo))),
                SPFFinding(
                    result: .pass, reason: .matched, identity: .mailFrom(MailFromIdentity(sender: [], helo: helo))),
            ],
            dkim: [
                DKIMFinding(
                    result: .pass, reason: .none, domain: try name("example.org"), selector: try name("2026q4"),
                    auid: [0x40, 0xFF, 0x00], algorithm: .ed25519SHA256, keyBits: 256, signaturePrefix: "abc/+",
                    isTesting: true),
                DKIMFinding(result: .permerror, reason: .syntax("no b=")),
            ], disposition: .quarantine, override: .trustedForwarder)
    }

    /// One whose every field that may be empty is.
    static let empty = MessageFacts(
        time: start, queueID: nil, client: .v6(0x2001_0DB8_0000_0000, 1),
        dmarc: DMARCFinding(result: .permerror, reason: .noAuthor), spf: [], dkim: [], disposition: .none)
}

/// A file's octets from `offset` on are something else.
func damage(_ path: String, at offset: UInt64, with octets: [UInt8]) throws {
    let handle = try FileHandle(forUpdating: URL(filePath: path))
    try handle.seek(toOffset: offset)
    try handle.write(contentsOf: octets)
    try handle.close()
}
