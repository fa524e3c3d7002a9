// Zones as both a peer and our judge see them, and a generator of records for the two to disagree on.

import PosternDNS
import PosternMail
import PostfixHarness
import TestSupport

@testable import PosternAuth

/// Values by name and type, as PySPF.Order has them.
typealias PeerZone = [String: [String: [String]]]

extension FunctionDNS {
    convenience init(_ zone: PeerZone, failing: [String] = []) {
        self.init { question in
            let name = String(decoding: Array(question.name.labels.joined(separator: [0x2E])), as: UTF8.self).lowercased()
            guard !failing.contains(name) else { return .temporaryFailure("timeout") }
            guard let records = zone[name] else { return .noSuchName }
            let values = records["\(question.type)"] ?? []
            let data = values.compactMap { RecordData($0, question.type) }
            return data.isEmpty ? .noData : .records(data, ttl: 300)
        }
    }
}

extension RecordData {
    fileprivate init?(_ value: String, _ type: RecordType) {
        switch type {
        case .txt: self = .txt(value.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) })
        case .a: if let address = IPAddress(value) { self = .a(address) } else { return nil }
        case .aaaa: if let address = IPAddress(value) { self = .aaaa(address) } else { return nil }
        case .mx:
            // `try?`: a zone of these tests holds names only.
            guard let exchange = try? DomainName(value) else { return nil }
            self = .mx(preference: 10, exchange: exchange)
        case .ptr:
            guard let name = try? DomainName(value) else { return nil }  // likewise
            self = .ptr(name)
        default: return nil
        }
    }
}

/// Random records, names and transactions, dense enough that terms meet what they ask for.
struct SPFGenerator {
    private var random: SeededRandom

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    static let failing = ["error.example.com"]
    private let names =
        (0..<6).map { "d\($0).example.com" } + ["x.d0.example.com", "none.example.org", "error.example.com"]
    private let v4 = (0..<4).map { "192.0.2.\($0)" } + ["198.51.100.7"]
    private let v6 = (0..<3).map { "2001:db8::\($0)" }

    private mutating func pick<T>(_ values: [T]) -> T { values[Int.random(in: 0..<values.count, using: &random)] }
    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
    private mutating func sample(_ values: [String], _ range: ClosedRange<Int>) -> [String] {
        Array(values.shuffled(using: &random).prefix(Int.random(in: range, using: &random)))
    }

    private mutating func domain() -> String {
        guard chance(30) else { return pick(names) }
        let macros = [
            "%{s}", "%{l}", "%{o}", "%{d}", "%{d2}", "%{d1r}", "%{ir}", "%{i}", "%{v}", "%{h}", "%{p}", "%{l1r-}",
            "%{L}", "%%", "%_", "%-", "%{dr-.}", "%{d3R}", "%{S2r@}", "%{c}", "%{d0}", "%x", "%{l+}", "%{O2}", ".",
            "x", "a-b", "_spf",
        ]
        var text = ""
        for _ in 0..<Int.random(in: 1...4, using: &random) { text += pick(macros) }
        return text + pick([".example.com", ".d0.example.com", "", ".com", "."])
    }

    private mutating func lengths() -> String {
        chance(70) ? "" : pick(["/24", "/32", "/30", "//64", "/24//64", "/33", "/024", "/0", "//0"])
    }

    private mutating func term() -> String {
        let qualifier = pick(["", "", "+", "-", "~", "?"])
        switch Int.random(in: 0..<14, using: &random) {
        case 0: return qualifier + pick(["a", "mx"]) + lengths()
        case 1, 2: return qualifier + "a:" + domain() + lengths()
        case 3: return qualifier + "mx:" + domain() + lengths()
        case 4:
            return qualifier + "ip4:" + pick(v4 + ["192.0.2.0", "1.2.3"]) + pick(["", "", "/24", "/31", "/33", "/08"])
        case 5:
            return qualifier + "ip6:" + pick(v6 + ["::ffff:192.0.2.1", "1::2::3"]) + pick(["", "/64", "/127", "/129"])
        case 6: return qualifier + pick(["ptr", "ptr:" + domain()])
        case 7: return qualifier + "exists:" + domain()
        case 8, 9: return qualifier + "include:" + domain()
        case 10: return qualifier + pick(["all", "ALL"])
        case 11: return pick(["moo=", "x-y.z=%{d}", "foo=bar", "q=%{c}", "exp=" + domain()])
        case 12: return "redirect=" + domain()
        default:
            return chance(25) ? pick(["junk", "a/", "all:", "include", "=x", "-", "ip4", "mx:"]) : "ip4:203.0.113.1"
        }
    }

    private mutating func record() -> String {
        var text = "v=spf1"
        for _ in 0..<Int.random(in: 0...6, using: &random) { text += pick([" ", " ", "  "]) + term() }
        return text + pick(["", " -all", " ~all", " "])
    }

    mutating func order(cases: Int) -> PySPF.Order {
        var zone: PeerZone = [:]
        for name in names where !name.hasPrefix("none") && !name.hasPrefix("error") {
            var records: [String: [String]] = [:]
            if chance(90) { records["TXT"] = chance(95) ? [record()] : [record(), record()] }
            if chance(12) {
                records["TXT"] = [pick(["Go away %{i}", "%{s} %{c}", "no %{p} here", "bad %", "see %{S}"])]
            }
            if chance(70) { records["A"] = sample(v4, 1...2) }
            if chance(40) { records["AAAA"] = sample(v6, 1...1) }
            if chance(50) { records["MX"] = sample(names, 1...3) }
            zone[name] = records
        }
        for address in v4 + v6 where chance(60) {
            let reverse = IPAddress(address).flatMap { DomainName(reverseOf: $0) }
            if let reverse { zone["\(reverse)"] = ["PTR": sample(names, 1...3)] }
        }
        var transactions: [PySPF.Case] = []
        for _ in 0..<cases {
            transactions.append(
                PySPF.Case(
                    client: pick(v4 + v6), helo: pick(["mail.example.net", "d1.example.com", "x y", "HOST"]),
                    sender: pick(["foo", "a-b+c", "Foo.Bar", ""]) + "@" + pick(Array(names.prefix(7)))))
        }
        return PySPF.Order(zone: zone, failing: Self.failing, cases: transactions)
    }
}
