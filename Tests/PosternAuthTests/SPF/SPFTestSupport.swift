// What the tests of the SPF judge share: a DNS that answers from a function, and the zones of the YAML suites.

import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Yams

@testable import PosternAuth

/// DNS as a function; it remembers the batches it was asked.
final class FunctionDNS: DNSAnswering, Sendable {
    private let respond: @Sendable (Question) -> Answer
    private let asked = Mutex<[[Question]]>([])

    init(_ respond: @escaping @Sendable (Question) -> Answer) { self.respond = respond }

    /// A zone by `NAME TYPE`, e.g. `"example.com TXT"`; everything else does not exist.
    convenience init(_ zone: [String: Answer]) {
        self.init { zone["\($0)"] ?? .noSuchName }
    }

    func answers(to questions: [Question]) -> [Answer] {
        asked.withLock { $0.append(questions) }
        return questions.map(respond)
    }
    func prefetch(_ questions: [Question]) {}

    var batches: [[String]] { asked.withLock { $0.map { $0.map(\.description) } } }
}

extension Answer {
    static func a(_ texts: String...) -> Answer {
        .records(texts.compactMap { IPAddress($0) }.map { .a($0) }, ttl: 300)
    }
    static func aaaa(_ texts: String...) -> Answer {
        .records(texts.compactMap { IPAddress($0) }.map { .aaaa($0) }, ttl: 300)
    }
    static func mx(_ names: String...) throws -> Answer {
        .records(try names.map { .mx(preference: 10, exchange: try DomainName($0)) }, ttl: 300)
    }
    static func ptr(_ names: String...) throws -> Answer {
        .records(try names.map { .ptr(try DomainName($0)) }, ttl: 300)
    }
}

/// Judges a sender as a test writes it.
func judgeSPF(
    _ sender: String = "foo@example.com", client: String = "192.0.2.3", helo: String = "mail.example.net",
    receiver: String? = "mx.example.org", dns: some DNSAnswering
) throws -> SPFFinding {
    SPFJudge.checkMailFrom(
        Array(sender.utf8), client: IPAddress(client) ?? .v4(0), helo: Array(helo.utf8),
        receiver: try receiver.map { try DomainName($0) }, dns: dns, now: UnixTime(seconds: 1_800_000_000))
}

/// One scenario of the openspf suites.
struct SPFScenario {
    struct Case {
        var name: String
        var spec: String
        var helo: [UInt8]
        var host: String
        var sender: [UInt8]
        var results: [String]
        var explanation: String?
    }

    var title: String
    var cases: [Case]
    var dns: FunctionDNS

    /// All scenarios of a file below Tests/Fixtures.
    static func all(_ path: String) throws -> [SPFScenario] {
        let text = String(decoding: try Fixtures.octets(path), as: UTF8.self)
        return try Array(Yams.compose_all(yaml: text)).compactMap { try SPFScenario($0) }
    }

    private init?(_ document: Node) throws {
        guard let tests = document["tests"]?.mapping, let zone = document["zonedata"]?.mapping else { return nil }
        title = document["description"]?.string ?? "?"
        cases = tests.map { name, test in
            Case(
                name: name.string ?? "?", spec: test["spec"]?.string ?? "", helo: test["helo"].octets,
                host: test["host"]?.string ?? "", sender: test["mailfrom"].octets,
                results: test["result"]?.sequence?.compactMap(\.string) ?? [test["result"]?.string ?? "?"],
                explanation: test["explanation"]?.string)
        }
        var names: [DomainName: ZoneName] = [:]
        for (name, records) in zone {
            names[try Self.name(name.string ?? "")] = try ZoneName(records.sequence.map(Array.init) ?? [])
        }
        let data = names
        dns = FunctionDNS { question in
            var name = question.name
            for _ in 0..<8 {  // longer chains, and loops, are trouble
                if name.labels.first?.elementsEqual("error".utf8) == true { return .temporaryFailure("error.") }
                guard let found = data[name] else { return .noSuchName }
                if let records = found.records[question.type] { return .records(records, ttl: 300) }
                guard let target = found.alias else { return found.timesOut ? .temporaryFailure("TIMEOUT") : .noData }
                name = target
            }
            return .temporaryFailure("CNAME loop")
        }
    }

    /// One name of `zonedata`; README of the suite.
    private struct ZoneName {
        var records: [RecordType: [RecordData]] = [:]
        var alias: DomainName?
        var timesOut = false

        init(_ entries: [Node]) throws {
            var spf: [RecordData] = []
            var hasTXT = false
            for entry in entries {
                guard let (type, value) = entry.mapping?.first else {
                    timesOut = timesOut || entry.string == "TIMEOUT"
                    continue
                }
                let text = value.string ?? ""
                switch type.string {
                case "A": records[.a, default: []] += IPAddress(text).map { [.a($0)] } ?? []
                case "AAAA": records[.aaaa, default: []] += IPAddress(text).map { [.aaaa($0)] } ?? []
                case "PTR": records[.ptr, default: []].append(.ptr(try SPFScenario.name(text)))
                case "CNAME": alias = try SPFScenario.name(text)
                case "MX":
                    let exchange = try SPFScenario.name(value.sequence?.last?.string ?? "")
                    records[.mx, default: []].append(.mx(preference: 10, exchange: exchange))
                case "SPF": spf.append(.txt(value.texts))
                case "TXT":
                    hasTXT = true
                    if text != "NONE" { records[.txt, default: []].append(.txt(value.texts)) }
                default: break
                }
            }
            if !hasTXT, !spf.isEmpty { records[.txt] = spf }
        }
    }

    /// A name as the suites write it: spaces and colons may be in labels.
    private static func name(_ text: String) throws -> DomainName {
        let text = text.hasSuffix(".") ? text.dropLast() : text[...]
        return text.isEmpty ? .root : try DomainName(labels: text.utf8.split(separator: 0x2E).map(Array.init))
    }
}

extension Node? {
    /// `\x80` in the suites is that octet, not U+0080.
    fileprivate var octets: [UInt8] {
        (self?.string ?? "").unicodeScalars.flatMap { $0.value < 0x100 ? [UInt8($0.value)] : Array(String($0).utf8) }
    }
}

extension Node {
    /// All character-strings of a TXT record, joined.
    fileprivate var texts: [UInt8] {
        if let sequence { return sequence.flatMap { Optional($0).octets } }
        return Optional(self).octets
    }
}
