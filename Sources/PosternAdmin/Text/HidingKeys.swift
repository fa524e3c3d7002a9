// Query keys of DNS lists hidden in a question and its answer, before they are shown.

internal import PosternAdmission
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct HidingKeys {
    private let keys: QueryKeys

    /// - Parameter configuration: whose zones may hold a key; nil: only those are known that always do.
    init(_ configuration: Configuration?) {
        let zones = configuration.map { $0.dnsbl.lists.map(\.zone) + $0.dns.zones.map(\.name) } ?? []
        keys = QueryKeys(zones: zones)
    }

    func of(_ question: Question) -> Question { Question(keys.hidden(in: question.name), question.type) }

    func of(_ link: CNAMELink) -> CNAMELink {
        CNAMELink(owner: keys.hidden(in: link.owner), target: keys.hidden(in: link.target), ttl: link.ttl)
    }

    func of(_ answer: Answer) -> Answer {
        guard case .records(let records, let ttl) = answer else { return answer }
        let hidden = records.map { record -> RecordData in
            switch record {
            case .cname(let name): .cname(keys.hidden(in: name))
            case .ns(let name): .ns(keys.hidden(in: name))
            case .ptr(let name): .ptr(keys.hidden(in: name))
            case .soa(let primary, let minimum): .soa(primary: keys.hidden(in: primary), minimum: minimum)
            default: record
            }
        }
        return .records(hidden, ttl: ttl)
    }
}
