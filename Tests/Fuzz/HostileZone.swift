// DNS as a stranger may have set it up: zone data out of the fuzzer's octets, for the judges of SPF and DMARC. It
// counts what it is asked, since that is what a judge promises to bound.

import PosternDNS
import PosternMail

/// Answers out of entries `LETTERname data`, up to an empty one: T (TXT), A, 6 (AAAA), M (MX), P (PTR) with data,
/// N (no such name), E (no such record), F (no reply) without. Several entries of a name and type are several records;
/// those of the name `*` are one for each name that has none of its own, chosen by the name.
final class HostileZone: DNSAnswering {
    private var own: [DomainName: [RecordType: [RecordData]]] = [:]
    private var whole: [DomainName: Answer] = [:]
    private var others: [RecordType: [RecordData]] = [:]
    /// The last answer of each batch is left out: a resolver that is broken.
    private let isBroken: Bool
    private(set) var questions: [Question] = []
    private(set) var batches = 0

    /// Entries that are read, and records made of one.
    static let maxEntries = 300
    static let maxRecords = 40

    init(_ input: inout FuzzInput, isBroken: Bool) {
        self.isBroken = isBroken
        for _ in 0..<Self.maxEntries {
            let entry = input.piece()
            if entry.isEmpty { break }
            add(entry)
        }
    }

    private func add(_ entry: [UInt8]) {
        guard let letter = entry.first else { return }
        let text = entry.dropFirst().prefix { $0 != 0x20 }
        let data = entry[text.endIndex...].dropFirst()
        let isStar = text.elementsEqual([0x2A])
        guard let name = try? DomainName(text: text) else { return }  // no name: nobody asks for it
        switch letter {
        case 0x4E: whole[name] = .noSuchName
        case 0x45: whole[name] = .noData
        case 0x46: whole[name] = .temporaryFailure("no reply")
        default:
            for (type, record) in Self.records(letter, data) {
                if isStar { others[type, default: []].append(record) }
                own[name, default: [:]][type, default: []].append(record)
            }
        }
    }

    private static func records(_ letter: UInt8, _ data: ArraySlice<UInt8>) -> [(RecordType, RecordData)] {
        if letter == 0x54 { return [(.txt, .txt(Array(data)))] }
        return data.split(separator: 0x2C).prefix(maxRecords).compactMap { text in
            let name = try? DomainName(text: text)  // of another record, or of none
            let address = IPAddress(String(decoding: text, as: UTF8.self))
            switch (letter, name, address) {
            case (0x41, _, let address?): return (.a, .a(address))
            case (0x36, _, let address?): return (.aaaa, .aaaa(address))
            case (0x4D, let name?, _): return (.mx, .mx(preference: 10, exchange: name))
            case (0x50, let name?, _): return (.ptr, .ptr(name))
            default: return nil
            }
        }
    }

    /// What the zone says, counted or not.
    func answer(_ question: Question) -> Answer {
        if let answer = whole[question.name] { return answer }
        if let types = own[question.name] {
            return types[question.type].map { .records($0, ttl: 300) } ?? .noData
        }
        guard let choice = others[question.type], !choice.isEmpty else { return .noSuchName }
        let hash = question.name.wire.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }  // FNV-1a
        return .records([choice[Int(hash >> 8) % choice.count]], ttl: 300)
    }

    func answers(to questions: [Question]) -> [Answer] {
        batches += 1
        self.questions += questions
        let all = questions.map(answer)
        return isBroken ? Array(all.dropLast()) : all
    }

    func prefetch(_ questions: [Question]) {}

    /// Begins to count anew.
    func forget() {
        questions = []
        batches = 0
    }
}
