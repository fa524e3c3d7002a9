// `[[dnsbl.list]]`: one DNS list, what it is asked about, and which of its answers count how much (RFC 5782).

internal import PosternAdmission
internal import PosternMail

enum DNSBLListTable {
    static let zone = RequiredKey(
        "zone", .text(.listZone), example: Example.name("zen", "spamhaus", "org"),
        "The zone that is asked. A query key in it is shown nowhere.")
    static let by = Key(
        "by", .oneOf(DNSBLSubject.self), default: .client,
        "What it is asked about: \"client\" (the address), \"sender\" (the domain), \"helo\" or \"client_name\".")
    static let scores = RequiredKey(
        "scores", .scores, example: Example.scores,
        "What its answers count, below 0 for the better. Others count nothing; 127.0.0.1 and 127.255.0.0/16 never do.")

    static let declaration = TableDeclaration(
        "dnsbl.list", isArray: true, "A list; write this table once for each.", keys: [zone, by, scores])
}

extension Example {
    fileprivate static let scores: [DNSBLScore] = {
        // This text is always a pattern.
        guard let answers = try? AnswerPattern("127.0.0.[2..11]") else { return [] }
        return [DNSBLScore(answers: answers, score: 4)]
    }()
}

extension ValueType<[DNSBLScore]> {
    private static let expectation = "a table such as { \"127.0.0.[2..11]\" = 4 }"
    private static let bounds = -1000...1000

    /// A table of answers with their scores.
    static let scores = ValueType(
        read: { node, reader in
            guard case .table(let table) = node.value, !table.entries.isEmpty else {
                let found = if case .table = node.value { "an empty table" } else { node.found }
                reader.report("expected \(expectation), found \(found)", at: node.position)
                return nil
            }
            var scores: [DNSBLScore]? = []
            for entry in table.entries {
                var answers: AnswerPattern?
                do throws(Unfit) { answers = try AnswerPattern(entry.key) } catch {
                    reader.report(error.text, at: entry.keyPosition)
                }
                var score: Int?
                if case .integer(let number) = entry.node.value, let number = Int(exactly: number),
                    bounds.contains(number)
                {
                    score = number
                } else {
                    reader.report(
                        "expected an integer from \(bounds.lowerBound) to \(bounds.upperBound), found "
                            + entry.node.found,
                        at: entry.node.position)
                }
                guard let answers, let score else {
                    scores = nil
                    continue
                }
                scores?.append(DNSBLScore(answers: answers, score: score))
            }
            return scores
        },
        write: { scores in
            "{ " + scores.map { "\(tomlString("\($0.answers)")) = \($0.score)" }.joined(separator: ", ") + " }"
        })
}

extension DNSBLListSettings {
    /// All lists that are right, in their order.
    static func lists(_ tables: [TableValues], _ reader: inout ValueReader) -> [DNSBLListSettings] {
        struct Question: Hashable {
            let zone: DomainName
            let by: DNSBLSubject
        }
        var owners: [Question: String] = [:]
        return tables.compactMap { table in
            guard let zone = table[DNSBLListTable.zone], let scores = table[DNSBLListTable.scores] else { return nil }
            let by = table[DNSBLListTable.by]
            if let owner = owners[Question(zone: zone, by: by)] {
                reader.report(
                    "expected a zone that is asked by \(by.rawValue) once, found \(ZoneName.redacted(zone)), which is "
                        + "\(owner)'s",
                    at: table.position(of: DNSBLListTable.zone), keyPath: "\(table.path).zone")
            }
            owners[Question(zone: zone, by: by)] = table.path
            return DNSBLListSettings(zone: zone, by: by, scores: scores)
        }
    }
}
