// Lists within one column: names, and the records that SPF went through. Names are in wire form with the root's octet
// at their end (RFC 1035 §3.1), texts have their length before them, as in a TXT record but of two octets.

import PosternMail

enum FactOctets {
    /// Most elements that are kept of any list; judges find fewer.
    static let maxElements = 64
    /// Octets of a text that are kept: what was published, an explanation, a reason.
    static let maxText = 1024

    static func cut(_ text: String?) -> String? {
        guard let text, text.utf8.count > maxText else { return text }
        return String(decoding: text.utf8.prefix(maxText), as: UTF8.self)
    }

    static func names(_ names: [DomainName]) -> [UInt8] { names.prefix(maxElements).flatMap { $0.wire + [0] } }

    static func names(from octets: [UInt8]) -> [DomainName]? {
        var rest = octets[...]
        var found: [DomainName] = []
        while !rest.isEmpty {
            guard found.count < maxElements, let name = popName(&rest) else { return nil }
            found.append(name)
        }
        return found
    }

    static func steps(_ steps: [SPFStep]) -> [UInt8] {
        steps.prefix(maxElements).flatMap { step in
            let term = Array(step.term.utf8.prefix(maxText))
            return step.domain.wire + [0, UInt8(term.count >> 8), UInt8(term.count & 0xFF)] + term
        }
    }

    static func steps(from octets: [UInt8]) -> [SPFStep]? {
        var rest = octets[...]
        var found: [SPFStep] = []
        while !rest.isEmpty {
            guard found.count < maxElements, let name = popName(&rest), let high = rest.popFirst(),
                let low = rest.popFirst()
            else { return nil }
            let count = Int(high) << 8 | Int(low)
            guard rest.count >= count else { return nil }
            found.append(SPFStep(domain: name, term: String(decoding: rest.prefix(count), as: UTF8.self)))
            rest = rest.dropFirst(count)
        }
        return found
    }

    static func name(from octets: [UInt8]?) -> DomainName? {
        octets.flatMap { try? DomainName(wire: $0) }  // damaged: the row is not read
    }

    private static func popName(_ rest: inout ArraySlice<UInt8>) -> DomainName? {
        var wire: [UInt8] = []
        while let length = rest.popFirst(), length > 0 {
            guard wire.count < DomainName.maxWireOctets, rest.count > Int(length) else { return nil }
            wire.append(length)
            wire += rest.prefix(Int(length))
            rest = rest.dropFirst(Int(length))
        }
        return try? DomainName(wire: wire)  // damaged: the row is not read
    }
}

extension MessageFacts {
    /// Without what is not written anyway. A stranger's `i=` alone may have 64 KiB in each of his signatures, and facts
    /// wait in memory for as long as a disk is full or stuck.
    var cutForQueue: MessageFacts {
        var facts = self
        facts.dkim = dkim.prefix(FactOctets.maxElements).map { finding in
            guard let auid = finding.auid, auid.count > FactOctets.maxText else { return finding }
            var finding = finding
            finding.auid = Array(auid.prefix(FactOctets.maxText))
            return finding
        }
        facts.dmarc.published?.aggregateReports = FactOctets.cut(dmarc.published?.aggregateReports)
        facts.dmarc.published?.failureReports = FactOctets.cut(dmarc.published?.failureReports)
        return facts
    }
}
