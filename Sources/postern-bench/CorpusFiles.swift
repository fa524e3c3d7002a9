// The corpus as files, for daemons and peers: one RSA-2048 key, its record as a zone and as OpenDKIM's test data, and
// each message unsigned and signed.

import Foundation
import PosternAuth
import PosternMail

enum CorpusFiles {
    static func write(to path: String) throws {
        let folder = URL(filePath: path)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        func write(_ octets: [UInt8], _ name: String) throws {
            try Data(octets).write(to: folder.appending(path: name))
        }

        let key = DKIMSigningKey(
            domain: try DomainName("example.org"), selector: try DomainName("bench"),
            privateKey: try .generate(.rsa(bits: 2048)))
        let record = try key.privateKey.publicKeyRecord
        try write(try key.privateKey.pem, "bench.pem")
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o400], ofItemAtPath: folder.appending(path: "bench.pem").path)
        let strings = stride(from: 0, to: record.count, by: 200).map { "\"\(record.dropFirst($0).prefix(200))\"" }
        try write(
            Array("bench._domainkey.example.org. 3600 IN TXT ( \(strings.joined(separator: " ")) )\n".utf8),
            "bench.zone")
        try write(Array("bench._domainkey.example.org \(record)\n".utf8), "opendkim.dns")
        // For smtp-source, which reads lines: a message without Received fields, since mail from loopback that has them
        // is taken for re-injected.
        let plain = Corpus.header.filter { !$0.isNamed("Received") }
        let short = Corpus.body(.prose, octets: 4096)
        let signed = Corpus.octets(header: try Cases.sign(short, key, header: plain) + plain, body: short)
        try write(signed.filter { $0 != 0x0D }, "smtp-source.signed")
        for (name, style, octets) in Corpus.messages {
            let body = Corpus.body(style, octets: octets)
            try write(Corpus.octets(header: Corpus.header, body: body), "\(name).eml")
            try write(
                Corpus.octets(header: try Cases.sign(body, key) + Corpus.header, body: body), "\(name).signed.eml")
        }
    }
}
