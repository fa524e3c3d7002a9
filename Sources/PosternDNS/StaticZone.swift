// Answers that the host gives itself, from a master file of its own (RFC 1035 §5): overrides of single names, whole
// private zones, and the data of tests. A name in the file answers for all its types; a name that is not there is asked
// upstream, unless a SOA record above it says that the file holds that whole zone. Wildcards are RFC 4592's. Left out:
// zone transfers, delegations answered as referrals (names below an NS record without SOA are asked upstream), DNAME
// substitution, DNSSEC.

public import PosternMail

public struct StaticZone: Sendable {
    /// The records of each name. A name without any exists only because names below it do.
    private var nodes: [DomainName: [RecordType: [ResourceRecord]]] = [:]

    /// How many records there are.
    public private(set) var recordCount = 0

    /// A zone without names: every question is asked upstream.
    public init() {}

    /// - Parameter text: a master file; $ORIGIN and $TTL are known, $INCLUDE is not.
    /// - Parameter origin: what names without a dot at their end are relative to, until the first $ORIGIN.
    /// - Throws: the first line that is wrong. RFC 1034 §3.6.2: nothing stands beside a CNAME record.
    public init(text: [UInt8], origin: DomainName = .root) throws(MasterFileError) {
        for (record, line) in try MasterFile.records(in: text, origin: origin) {
            guard insert(record) else {
                throw MasterFileError(line: line, reason: "\(record.owner) has a CNAME record and other data")
            }
        }
    }
    public init(text: String, origin: DomainName = .root) throws(MasterFileError) {
        try self.init(text: Array(text.utf8), origin: origin)
    }

    private mutating func insert(_ record: ResourceRecord) -> Bool {
        var sets = nodes[record.owner] ?? [:]
        var records = sets[record.type] ?? []
        if records.contains(where: { $0.octets == record.octets }) { return true }  // RFC 2181 §5: doubles are one
        guard record.type == .cname ? sets.isEmpty : sets[.cname] == nil else { return false }
        let ttl = min(record.ttl, records.first?.ttl ?? record.ttl)  // RFC 2181 §5.2: one TTL for the whole set
        records.append(record)
        for index in records.indices { records[index].ttl = ttl }
        sets[record.type] = records
        nodes[record.owner] = sets
        recordCount += 1
        var above = record.owner.parent  // RFC 4592 §2.2.2: the names above exist too
        while let name = above, nodes[name] == nil {
            nodes[name] = [:]
            above = name.parent
        }
        return true
    }

    // MARK: Looking up

    /// What the file says about a question.
    public enum Finding: Hashable, Sendable {
        /// All that there is to say.
        case complete(Resolution)
        /// CNAME records that lead out of the file: ask this question elsewhere and put them before its answer.
        case continues([ResourceRecord], Question)
    }

    /// The answer to `question`, as an authority would give it; `nil` when the name is none of the file's.
    /// - Source: RFC 1034 §4.3.2, RFC 4592 §3.3.
    public func lookup(_ question: Question) -> Finding? {
        var links: [ResourceRecord] = []
        var name = question.name
        while true {
            guard let sets = records(at: name) else {
                if let soa = apex(above: name) { return .complete(.init(links, soa: soa, rcode: .nameError)) }
                return links.isEmpty ? nil : .continues(links, Question(name, question.type))
            }
            if let wanted = sets[question.type] {
                return .complete(.init(links, wanted: wanted, rcode: .noError))
            }
            guard let link = sets[.cname]?.first, case .cname(let target)? = try? link.data() else {
                // The data were checked when the file was read: `try?` cannot fail, and no CNAME means NODATA.
                return .complete(.init(links, soa: apex(above: name), rcode: .noError))
            }
            links.append(link)
            guard links.count <= Resolution.maxCNAMEs, !links.contains(where: { $0.owner == target }) else {
                return .complete(Resolution(failure: "static zone: \(ResolutionError.loop)"))
            }
            name = target
        }
    }

    /// Whether `name` has no records here but names below it do: in the real DNS it would exist.
    public func isEmptyNonTerminal(_ name: DomainName) -> Bool { nodes[name]?.isEmpty ?? false }

    /// The records of a name, or of the wildcard that stands for it, owned by `name`; `nil` when the file has neither.
    private func records(at name: DomainName) -> [RecordType: [ResourceRecord]]? {
        if let sets = nodes[name] {
            // A name that only others stand below is the file's own only inside a zone of the file.
            return sets.isEmpty && apex(above: name) == nil ? nil : sets
        }
        // RFC 4592 §3.3.1: the wildcard must be right below the longest ancestor that exists.
        var ancestor = name.parent
        while let encloser = ancestor, nodes[encloser] == nil { ancestor = encloser.parent }
        guard let encloser = ancestor, let wildcard = try? encloser.prefixed("*"),  // too long a name is not there
            let sets = nodes[wildcard], !sets.isEmpty
        else { return nil }
        return sets.mapValues { records in
            records.map { ResourceRecord(owner: name, type: $0.type, ttl: $0.ttl, octets: $0.octets) }
        }
    }

    /// The SOA record of the file's zone that `name` is in, unless the name lies below a zone cut.
    private func apex(above name: DomainName) -> ResourceRecord? {
        var next: DomainName? = name
        while let ancestor = next {
            if let sets = nodes[ancestor] {
                if let soa = sets[.soa]?.first { return soa }
                if sets[.ns] != nil, ancestor != name { return nil }  // RFC 1034 §4.2.1: a cut; below it others know
            }
            next = ancestor.parent
        }
        return nil
    }
}
