// A DNS answer for people, as lines of a zone file (RFC 1035 §5.1), and for programs.

internal import PosternDNS
internal import PosternMail

enum AnswerText {
    /// What became of the question, each line with its line end.
    /// - Parameter links: the CNAME records on the way.
    static func lines(_ question: Question, _ answer: Answer, links: [CNAMELink]) -> String {
        let way = links.map { "\(absolute($0.owner)) \($0.ttl) IN \(data(.cname($0.target)))\n" }.joined()
        let end = absolute(links.last?.target ?? question.name)
        return switch answer {
        case .records(let records, let ttl): way + records.map { "\(end) \(ttl) IN \(data($0))\n" }.joined()
        case .noData: way + "no data\n"
        case .noSuchName: way + "no such name\n"
        case .temporaryFailure(let reason): way + "temporary failure: \(reason)\n"
        }
    }

    private static func absolute(_ name: DomainName) -> String { name == .root ? "." : "\(name)." }

    /// The type and the data.
    private static func data(_ record: RecordData) -> String {
        switch record {
        case .a(let address): "A \(address)"
        case .aaaa(let address): "AAAA \(address)"
        case .mx(let preference, let exchange): "MX \(preference) \(absolute(exchange))"
        case .txt(let text): "TXT \(ZoneText.quoted(text))"
        case .ptr(let name): "PTR \(absolute(name))"
        case .ns(let name): "NS \(absolute(name))"
        case .cname(let name): "CNAME \(absolute(name))"
        case .soa(let primary, let minimum): "SOA \(absolute(primary)) ; minimum \(minimum)"
        case .other(let type, let octets):  // RFC 3597 §5
            "\(type) \\# \(octets.count)" + (octets.isEmpty ? "" : " \(Hexadecimal.text(octets))")
        }
    }

    // MARK: JSON

    /// Every member is always there.
    static func json(_ question: Question, _ answer: Answer, links: [CNAMELink]) -> JSONValue {
        let (result, ttl, records, reason): (String, UInt32?, [RecordData], String?) =
            switch answer {
            case .records(let records, let ttl): ("records", ttl, records, nil)
            case .noData: ("nodata", nil, [], nil)
            case .noSuchName: ("nxdomain", nil, [], nil)
            case .temporaryFailure(let reason): ("temperror", nil, [], reason)
            }
        return [
            "name": .text("\(question.name)"), "type": .text("\(question.type)".lowercased()), "result": .text(result),
            "ttl": .optional(ttl.map(Int.init)), "cnames": .list(links.map(json)), "records": .list(records.map(json)),
            "reason": .optional(reason),
        ]
    }

    private static func json(_ link: CNAMELink) -> JSONValue {
        ["name": .text("\(link.owner)"), "target": .text("\(link.target)"), "ttl": .number(Int(link.ttl))]
    }

    private static func json(_ record: RecordData) -> JSONValue {
        switch record {
        case .a(let address), .aaaa(let address): ["address": .text("\(address)")]
        case .mx(let preference, let exchange):
            ["preference": .number(Int(preference)), "exchange": .text("\(exchange)")]
        case .txt(let text): ["text": .octets(text)]
        case .ptr(let name), .ns(let name), .cname(let name): ["name": .text("\(name)")]
        case .soa(let primary, let minimum): ["primary": .text("\(primary)"), "minimum": .number(Int(minimum))]
        case .other(_, let octets): ["octets": .text(Hexadecimal.text(octets))]
        }
    }
}
