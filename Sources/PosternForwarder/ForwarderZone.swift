// What is different below one zone, and what kind of name a question is for: for how long its answers are kept, whether
// they may be used when they are stale (RFC 8767), and who its question is counted with.

import PosternDNS
public import PosternMail

/// Settings of one zone and all names below it; `nil` where those of the forwarder hold.
public struct ForwarderZone: Hashable, Sendable {
    public var name: DomainName
    /// Asked instead of the forwarder's; empty: the forwarder's are asked.
    public var upstreams: [Upstream] = []
    public var ttlMin: Duration?
    public var ttlMax: Duration?
    /// For how long all answers may be used after their time; lists' never are, whatever this says.
    public var stale: Duration?
    /// How long one upstream is waited for.
    public var tryTimeout: Duration?
    /// Most questions sent upstream in a second.
    public var questionsPerSecond: Int?

    public init(_ name: DomainName) { self.name = name }
}

/// What a question is for, as far as it matters to a cache.
enum NameKind {
    /// `_domainkey` is among the labels. Source: RFC 6376 §3.6.2.1.
    case key
    /// `_dmarc` is among the labels, those of report permissions included. Source: RFC 9989 §4.7.
    case policy
    /// A TXT question, as for SPF. Source: RFC 7208 §3.1.
    case text
    case other

    init(_ question: Question) {
        self = question.type == .txt ? .text : .other
        for label in question.name.labels {  // at most 127
            if label.elementsEqual("_domainkey".utf8) { self = .key }
            if label.elementsEqual("_dmarc".utf8) { self = .policy }
        }
    }
}

/// What holds for one question.
struct Rules {
    var zone: ForwarderZone?
    /// The DNS list that is asked.
    var list: DomainName?
    var kind: NameKind

    /// Whether it decides on the authenticity of mail: asked before all others, and from a reserve.
    var precedence: Precedence {
        if list != nil { return .other }
        return switch kind {
        case .policy: .policy
        case .key, .text: .authentication
        case .other: .other
        }
    }
}

extension ForwarderSettings {
    /// - Returns: the longest zone that fits, and the longest list.
    func rules(for question: Question) -> Rules {
        var rules = Rules(kind: NameKind(question))
        guard !lists.isEmpty || !zonesByName.isEmpty else { return rules }
        var above: DomainName? = question.name
        while let name = above {  // a name has at most 127 labels
            if rules.list == nil, lists.contains(name) { rules.list = name }
            if rules.zone == nil { rules.zone = zonesByName[name] }
            above = name.parent
        }
        return rules
    }

    /// How long an answer is kept.
    func bounds(_ rules: Rules, _ resolution: Resolution) -> Cache.Bounds {
        var bounds = cache.bounds
        if let ttlMin = rules.zone?.ttlMin { bounds.ttlMin = ttlMin }
        if let ttlMax = rules.zone?.ttlMax { bounds.ttlMax = ttlMax }
        if rules.list != nil {
            bounds.hasNXDOMAINCut = false  // RFC 8020 is about trees; a list is none
            bounds.stale = .zero  // who was delisted must not be refused by an old answer
        } else {
            bounds.stale = rules.zone?.stale ?? stale(rules.kind, resolution)
        }
        return bounds
    }

    private func stale(_ kind: NameKind, _ resolution: Resolution) -> Duration {
        switch kind {
        case .key: return staleKeys
        case .policy: return stale
        case .text:
            guard case .records(let records, _) = resolution.answer else { return .zero }
            let isSPF = records.contains {  // RFC 7208 §4.5
                guard case .txt(let text) = $0 else { return false }
                return text.starts(with: "v=spf1".utf8)
            }
            return isSPF ? stale : .zero
        case .other: return .zero
        }
    }
}
